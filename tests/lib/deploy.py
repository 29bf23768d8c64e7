"""Deploy: the files an operator starts with, read as the programs they are for would read them."""

import json
import re
import shutil
import subprocess

import yaml

from lib.program import ROOT, clean_environment, hansard

COMPOSE_FILE = ROOT / "docker-compose.yml"
ENV_EXAMPLE = ROOT / "deploy" / "compose" / "env.example"
WORKERS = ("worker1", "worker2", "worker3")


def text_of(path):
    return (ROOT / path).read_text(encoding="utf-8")


def settings_known():
    """{HANSARD_...: default} as the program says them."""
    done = hansard("config")
    assert done.returncode == 0, done.stderr
    return dict(line.split("=", 1) for line in done.stdout.splitlines())


def seconds(text):
    """Of 50s, 2m, 1500ms, or a bare number."""
    number, unit = re.fullmatch(r"([0-9.]+)(ms|s|m|h|)", str(text)).groups()
    return float(number) * {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "": 1}[unit]


def assignments(text, with_comments=False):
    """{NAME: value} of an environment file; with_comments: also lines that a # switches off."""
    mark = "#?" if with_comments else ""
    return dict(re.findall(rf"^{mark}([A-Z][A-Z0-9_]*)=(.*)$", text, re.M))


# ---- docker-compose.yml ----


def _interpolated(text, variables):
    """${NAME:-default} and ${NAME:?message}, which is all that the file uses."""

    def value(match):
        name, kind, word = match.groups()
        if not variables.get(name) and kind == ":?":
            raise KeyError(name)
        return variables.get(name) or word

    return re.sub(r"\$\{([A-Z_]+)(:[-?])([^}]*)\}", value, text)


def compose(**variables):
    """What docker-compose.yml says with these variables. Names without a value in `environment` come from them too."""
    text = "\n".join(line for line in text_of(COMPOSE_FILE).splitlines() if not line.lstrip().startswith("#"))
    read = yaml.safe_load(_interpolated(text, variables))
    for service in read["services"].values():
        service["environment"] = {
            name: variables.get(name) if value is None else value
            for name, value in service.get("environment", {}).items()
            if value is not None or name in variables
        }
    return read


def compose_program():
    """docker-compose 1.29 or Compose 2, as a command; None when there is neither."""
    if shutil.which("docker-compose"):
        return ["docker-compose"]
    if shutil.which("docker") and subprocess.run(["docker", "compose", "version"], capture_output=True).returncode == 0:
        return ["docker", "compose"]
    return None


def composed_by_itself(env_file):
    """The same, read by Compose: returncode, stdout, stderr of `config`."""
    command = [*compose_program(), "-f", COMPOSE_FILE, "--project-directory", ROOT, "--env-file", env_file, "config"]
    foreign = {*assignments(text_of(ENV_EXAMPLE), with_comments=True)}
    environment = {name: value for name, value in clean_environment().items() if name not in foreign}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


# ---- Dockerfile ----


class Stage:
    """One FROM and what follows it."""

    def __init__(self, base, parent):
        self.base, self.parent = base, parent  # parent: the Stage that base is the name of, or None
        self.lines = []  # (INSTRUCTION, rest)

    def last(self, instruction):
        """The one that counts: its own, else what it builds upon."""
        found = [rest for word, rest in self.lines if word == instruction]
        if found:
            return found[-1]
        return self.parent.last(instruction) if self.parent else None

    def words(self, instruction):
        """Of the JSON form."""
        return json.loads(self.last(instruction))

    @property
    def packages(self):
        found = set()
        for word, rest in self.lines:
            if word == "RUN":
                for part in re.findall(r"apt-get install ([^&]*)", rest):
                    found |= {name for name in part.split() if not name.startswith("-")}
        return found

    def copies(self):
        """Paths in the build context that are copied from."""
        for word, rest in self.lines:
            if word == "COPY" and not rest.startswith("--from="):
                yield from rest.split()[:-1]


def dockerfile():
    """{name: Stage}, in order."""
    text = re.sub(r"^\s*#.*\n", "", text_of("Dockerfile"), flags=re.M).replace("\\\n", " ")
    stages, stage = {}, None
    for line in filter(str.strip, text.splitlines()):
        word, rest = line.strip().split(None, 1)
        if word == "FROM":
            base, name = re.fullmatch(r"(\S+) AS (\S+)", rest).groups()
            stage = stages[name] = Stage(base, stages.get(base))
        elif stage:
            stage.lines.append((word, rest.strip()))
    return stages
