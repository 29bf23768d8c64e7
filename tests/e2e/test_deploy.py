"""What is shipped for operators is whole: settings exist, packages exist, times fit, nothing secret or open slips in.

Nothing is started here; test_fleet.py runs the same files.
"""

import os
import re
import shutil
import stat
import subprocess

import pytest
import yaml

from lib.deploy import (
    ENV_EXAMPLE,
    WORKERS,
    assignments,
    compose,
    compose_program,
    composed_by_itself,
    dockerfile,
    seconds,
    settings_known,
    text_of,
)
from lib.program import DEMO_LLM, HANSARD, ROOT, SANITIZER, hansard

PASSWORDS = {"POSTGRES_PASSWORD": "canary-of-postgres", "APP_PASSWORD": "canary-of-app"}
ONE_SHOTS = {"migrate", "admin"}
LEAST_GRACE = 15  # seconds after the drain; docs/operations.md, "Installing"

needs_compose = pytest.mark.skipif(not compose_program(), reason="neither docker-compose nor docker compose is here")
needs_systemd = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")


def run(*words, **options):
    return subprocess.run(words, capture_output=True, text=True, timeout=120, check=False, **options)


def is_bookworm():
    return "VERSION_CODENAME=bookworm" in text_of("/etc/os-release") if os.path.exists("/etc/os-release") else False


def env_file(folder, **more):
    path = folder / "env"
    lines = {**assignments(text_of(ENV_EXAMPLE)), **PASSWORDS, **more}
    path.write_text("".join(f"{name}={value}\n" for name, value in lines.items()), encoding="utf-8")
    return path


@pytest.fixture
def services():
    return compose(**PASSWORDS)["services"]


# ---- docker-compose.yml ----


@needs_compose
def test_compose_accepts_its_file(tmp_path):
    done = composed_by_itself(env_file(tmp_path))
    assert done.returncode == 0, done.stderr
    assert set(yaml.safe_load(done.stdout)["services"]) >= {"nginx", *WORKERS, "pgbouncer", "postgres", "migrate"}


@needs_compose
def test_compose_does_without_demo(tmp_path):
    """A real model is one variable: no part may need demo-llm, which the profile then leaves out."""
    url = "https://models.example/v1"
    done = composed_by_itself(env_file(tmp_path, COMPOSE_PROFILES="", HANSARD_LLM_URL=url))
    assert done.returncode == 0, done.stderr
    read = yaml.safe_load(done.stdout)["services"]
    assert {read[name]["environment"]["HANSARD_LLM_URL"] for name in WORKERS} == {url}
    assert not [name for name, part in read.items() if "demo-llm" in part.get("depends_on", {})]


@needs_compose
def test_settings_in_env_reach_workers(tmp_path):
    done = composed_by_itself(env_file(tmp_path, HANSARD_LLM_CONCURRENCY="7", HANSARD_SYSTEM_PROMPT="be kind"))
    read = yaml.safe_load(done.stdout)["services"]
    for name in WORKERS:
        seen = read[name]["environment"]
        assert (seen["HANSARD_LLM_CONCURRENCY"], seen["HANSARD_SYSTEM_PROMPT"]) == ("7", "be kind")
        assert seen.get("HANSARD_QUEUE_LIMIT") is None  # not set, not empty: empty would be an error


@needs_compose
@pytest.mark.parametrize("missing", PASSWORDS)
def test_compose_stops_without_a_password(tmp_path, missing):
    done = composed_by_itself(env_file(tmp_path, **{missing: ""}))
    assert done.returncode != 0
    assert "setup.sh" in done.stderr


def test_every_setting_can_be_set():
    """A setting that is new or renamed has to be so in docker-compose.yml too."""
    written = yaml.safe_load(text_of("docker-compose.yml"))["x-worker-environment"]
    names = {name for name in written if name.startswith("HANSARD_")}
    assert names == set(settings_known()) - {"HANSARD_MIGRATE_URL", "HANSARD_AUDIT_URL", "HANSARD_SEAL_PUBLIC_KEY"}  # operators'
    # Either a value that the fleet needs, or one that .env may change; nothing decided here by the way.
    fixed = {name for name in names if written[name] is not None and f"${{{name}:-" not in written[name]}
    assert fixed == {"HANSARD_LISTEN", "HANSARD_DATABASE_URL", "HANSARD_TRUSTED_PROXIES"}


def test_workers_accept_their_environment(services):
    for name in WORKERS:
        settings = {
            key[len("HANSARD_") :].lower(): value
            for key, value in services[name]["environment"].items()
            if key.startswith("HANSARD_")
        }
        done = hansard("config", **settings)
        assert done.returncode == 0, done.stderr


def test_every_part_is_watched_bounded_and_held_down(services):
    for name, part in services.items():
        assert part["restart"] == ("no" if name in ONE_SHOTS else "unless-stopped"), name
        assert ("test" in part["healthcheck"]) != (name in ONE_SHOTS), name
        assert part["healthcheck"].get("disable", False) == (name in ONE_SHOTS), name
        assert part["read_only"] is True and part["cap_drop"] == ["ALL"], name
        assert part["security_opt"] == ["no-new-privileges:true"], name
        # Compose honours these without a swarm; `deploy:` it does not, in 1.29.
        assert part["cpus"] and part["mem_limit"] and part["pids_limit"] and "deploy" not in part, name
        assert part["logging"]["options"]["max-size"], name


def test_only_nginx_is_published_and_on_loopback(services):
    assert [name for name, part in services.items() if part.get("ports")] == ["nginx"]
    assert services["nginx"]["ports"] == ["127.0.0.1:8080:8080"]
    read = compose(**PASSWORDS)
    closed = {name for name, network in read["networks"].items() if network.get("internal")}
    assert closed == {"front", "data"}
    assert set(services["postgres"]["networks"]) == set(services["pgbouncer"]["networks"]) == {"data"}
    assert set(services["nginx"]["networks"]) == {"edge", "front"}


def test_nginx_and_workers_know_each_other():
    """By addresses that stay, whichever network they are in."""
    for net in ("172.31.240", "10.9.8"):
        parts = compose(**PASSWORDS, FLEET_NET=net)["services"]
        told = dict(line.split(":") for line in parts["nginx"]["extra_hosts"])
        assert told == {name: parts[name]["networks"]["front"]["ipv4_address"] for name in WORKERS}
        assert all(address.startswith(f"{net}.") for address in told.values())
        proxy = parts["nginx"]["networks"]["front"]["ipv4_address"]
        assert {parts[name]["environment"]["HANSARD_TRUSTED_PROXIES"] for name in WORKERS} == {f"{proxy}/32"}
    listed = re.findall(r"^server (\S+):8080 max_fails=0;$", text_of("deploy/compose/nginx/hansard-workers.conf"), re.M)
    assert tuple(listed) == WORKERS


def test_order_of_starting(services):
    for name in WORKERS:
        assert services[name]["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}
        assert services[name]["depends_on"]["pgbouncer"] == {"condition": "service_healthy"}
    assert services["migrate"]["depends_on"]["postgres"] == {"condition": "service_healthy"}


def test_passwords_are_nobodys_arguments():
    parts = compose(**PASSWORDS)["services"]
    for name, part in parts.items():
        seen = repr({key: value for key, value in part.items() if key != "environment"})
        assert "canary" not in seen, name
    for name in WORKERS:  # and the superuser's is not given to those who face callers
        assert PASSWORDS["POSTGRES_PASSWORD"] not in parts[name]["environment"].values()
    assert "POSTGRES_PASSWORD" not in parts["pgbouncer"]["environment"]


# ---- .env ----


@pytest.fixture
def checkout(tmp_path):
    """A copy of what setup.sh needs."""
    shutil.copytree(ROOT / "deploy" / "compose", tmp_path / "deploy" / "compose")
    return tmp_path


def test_setup_makes_passwords(checkout):
    script = checkout / "deploy" / "compose" / "setup.sh"
    assert run(script).returncode == 0
    made = checkout / ".env"
    assert stat.S_IMODE(made.stat().st_mode) == 0o600
    read = assignments(made.read_text(encoding="utf-8"))
    words = [read[name] for name in PASSWORDS]
    assert all(re.fullmatch("[0-9a-f]{48}", word) for word in words) and len(set(words)) == 2
    assert read["COMPOSE_PROFILES"] == "demo"
    before = made.read_bytes()
    assert run(script).returncode == 0
    assert made.read_bytes() == before


def test_env_stays_here():
    assert not re.findall(r"^!.*(env|\*$)", text_of(".dockerignore"), re.M)
    assert text_of(".dockerignore").splitlines()[1] == "*"
    assert "/.env" in text_of(".gitignore").splitlines()


@pytest.mark.parametrize(
    "path", ["deploy/compose/env.example", "deploy/systemd/worker.env.example", "deploy/systemd/migrate.env.example"]
)
def test_examples_name_what_exists(path):
    known = settings_known()
    named = {name for name in assignments(text_of(path), with_comments=True) if name.startswith("HANSARD_")}
    assert named and named <= set(known)
    in_force = {
        name[len("HANSARD_") :].lower(): value
        for name, value in assignments(text_of(path)).items()
        if name.startswith("HANSARD_")
    }
    done = hansard("config", **in_force)
    assert done.returncode == 0, done.stderr


def test_example_shows_defaults():
    """A line that is switched off says what holds without it."""
    shown = assignments(text_of(ENV_EXAMPLE), with_comments=True)
    assert shown["HANSARD_LLM_CONCURRENCY"] == settings_known()["HANSARD_LLM_CONCURRENCY"]
    plain = compose(**PASSWORDS)
    for name in ("HANSARD_DRAIN_TIMEOUT", "STOP_GRACE_PERIOD", "PUBLISH", "FLEET_NET", "TAG"):
        assert compose(**PASSWORDS, **{name: shown[name]}) == plain, name
        assert compose(**PASSWORDS, **{name: "9"}) != plain, name


# ---- stopping ----


def longest_way_out(settings):
    """Seconds that a worker may need to stop by itself."""
    parts = ("HANSARD_DRAIN_DELAY", "HANSARD_DRAIN_TIMEOUT")
    in_force = {**settings_known(), **settings}
    return sum(seconds(in_force[name]) for name in parts if name in in_force) + LEAST_GRACE


def test_docker_waits_for_the_drain(services):
    assert settings_known()["HANSARD_DRAIN_TIMEOUT"] == services["worker1"]["environment"]["HANSARD_DRAIN_TIMEOUT"]
    for name in WORKERS:
        assert seconds(services[name]["stop_grace_period"]) >= longest_way_out(services[name]["environment"])
    # nginx waits for the answers that are on their way.
    assert seconds(services["nginx"]["stop_grace_period"]) > seconds(settings_known()["HANSARD_REQUEST_TIMEOUT"])


def test_systemd_waits_for_the_drain():
    unit = text_of("deploy/systemd/hansard@.service")
    wait = re.search(r"^TimeoutStopSec=(\d+)$", unit, re.M)[1]
    assert seconds(wait) >= longest_way_out(assignments(text_of("deploy/systemd/worker.env.example")))
    assert re.search(r"^KillSignal=SIGTERM$", unit, re.M) and re.search(r"^Restart=always$", unit, re.M)


# ---- Dockerfile ----


def test_compose_and_dockerfile_agree(services):
    stages = dockerfile()
    assert list(stages)[-1] == "hansard"
    for name, part in services.items():
        if "build" not in part:
            continue
        stage = stages[part["build"]["target"]]
        assert stage.last("USER") == "hansard", name
        health, image = part["healthcheck"].get("test"), stage.last("HEALTHCHECK")
        if name != "demo-llm" and health:
            assert health == ["CMD", *yaml.safe_load(image.split("CMD ", 1)[1])], name
    worker = stages["worker"]
    assert (worker.words("ENTRYPOINT"), worker.words("CMD")) == (["hansard"], ["serve"])
    assert worker.last("STOPSIGNAL") == "SIGTERM"
    assert stages["hansard"].base == "worker"


def test_base_images_have_tags():
    tag = re.search(r"^ARG DEBIAN=(\S+)$", text_of("Dockerfile"), re.M)[1]
    assert tag.startswith("bookworm") and tag.endswith("-slim")
    for stage in dockerfile().values():
        assert stage.base in ("debian:${DEBIAN}", *dockerfile())
    assert re.fullmatch(r"postgres:\d+-bookworm", compose(**PASSWORDS)["services"]["postgres"]["image"])


def test_context_holds_what_is_copied():
    """And .dockerignore lets in nothing else."""
    allowed = {line[1:] for line in text_of(".dockerignore").splitlines() if line.startswith("!")}
    copied = {path for stage in dockerfile().values() for path in stage.copies()}
    for path in copied:
        assert (ROOT / path).exists()
    assert {re.sub(r"deploy/compose/\w+\.sh$", "deploy/compose/*.sh", path) for path in copied} == allowed


def test_scripts_can_be_run():
    for path in (ROOT / "deploy" / "compose").glob("*.sh"):
        assert os.access(path, os.X_OK), path


@pytest.mark.skipif(not is_bookworm(), reason="the images are Debian 12, this machine is not")
def test_packages_exist():
    if run("apt-cache", "show", "libc6").returncode != 0:
        pytest.skip("apt has no lists here; run apt-get update")
    named = set().union(*(stage.packages for stage in dockerfile().values()))
    assert {"gcc", "libpq5", "pgbouncer", "nginx"} <= named
    done = run("apt-cache", "show", *named)
    assert done.returncode == 0 and named <= set(re.findall(r"^Package: (\S+)$", done.stdout, re.M)), done.stderr


def package_of(path):
    """Which Debian package has put this file here; merged /usr is looked at both ways."""
    for name in (path, os.path.realpath(path), re.sub("^/usr", "", path)):
        done = run("dpkg", "-S", name)
        if done.returncode == 0:
            return done.stdout.split(":")[0]
    raise AssertionError(f"no package has {path}")


@pytest.mark.skipif(bool(SANITIZER) or not is_bookworm(), reason="a release build on Debian 12 is what is shipped")
def test_image_has_the_libraries():
    """Exactly those the two programs are linked with; what these need themselves, apt brings."""
    needed = set()
    for program in (HANSARD, DEMO_LLM):
        direct = set(re.findall(r"NEEDED\s+(\S+)", run("objdump", "-p", program).stdout))
        paths = dict(re.findall(r"(\S+) => (\S+)", run("ldd", program).stdout))
        needed |= {package_of(paths[name]) for name in direct}
    assert dockerfile()["worker"].packages - {"ca-certificates"} == needed - {"libc6"}


@pytest.mark.skipif(not is_bookworm(), reason="the images are Debian 12, this machine is not")
def test_build_has_the_headers():
    packages = re.search(r"^PACKAGES := (.*)$", text_of("Makefile"), re.M)[1].split()
    assert "libpq" in packages
    for name in packages:
        folder = run("pkg-config", "--variable=pcfiledir", name).stdout.strip()
        assert package_of(f"{folder}/{name}.pc") in dockerfile()["build"].packages


# ---- systemd ----


@pytest.fixture
def units(tmp_path):
    """The units as on a machine, Debian's for PgBouncer beside ours; programs are those under test."""
    for path in (ROOT / "deploy" / "systemd").glob("*.service"):
        text = path.read_text(encoding="utf-8").replace("/usr/local/bin/hansard", HANSARD)
        (tmp_path / path.name).write_text(text, encoding="utf-8")
    shutil.copytree(ROOT / "deploy" / "systemd" / "pgbouncer.service.d", tmp_path / "pgbouncer.service.d")
    theirs = "/lib/systemd/system/pgbouncer.service"
    if os.path.exists(theirs):
        shutil.copy(theirs, tmp_path)
    return tmp_path


@needs_systemd
def test_units_are_valid(units):
    names = ["hansard@8091.service", "hansard-migrate.service"]
    if (units / "pgbouncer.service").exists():
        names.append("pgbouncer.service")
    done = run("systemd-analyze", "verify", *(f"./{name}" for name in names), cwd=units)
    # An unknown or wrong line is a warning, and status 0.
    complaints = [line for line in done.stderr.splitlines() if str(units) in line or re.search(r"hansard|pgbouncer", line)]
    assert (done.returncode, complaints) == (0, [])


@needs_systemd
@pytest.mark.parametrize("name", ["hansard@8091.service", "hansard-migrate.service"])
def test_units_are_held_down(units, name):
    if "--offline" not in run("systemd-analyze", "--help").stdout:
        pytest.skip("this systemd-analyze has no --offline")
    done = run("systemd-analyze", "security", "--offline=true", "--threshold=20", "--no-pager", f"./{name}", cwd=units)
    assert done.returncode == 0, done.stdout[-300:]


def test_units_keep_secrets():
    for path in ("hansard@.service", "hansard-migrate.service", "pgbouncer.service.d/hansard.conf"):
        assert re.search(r"^LimitCORE=0$", text_of(f"deploy/systemd/{path}"), re.M), path
    worker = text_of("deploy/systemd/hansard@.service")
    assert re.findall(r"^Environment=(.*)$", worker, re.M) == ["HANSARD_LISTEN=127.0.0.1:%i"]


def test_pooler_unit_allows_its_connections():
    files = int(re.search(r"^LimitNOFILE=(\d+)$", text_of("deploy/systemd/pgbouncer.service.d/hansard.conf"), re.M)[1])
    clients = int(re.search(r"^max_client_conn = (\d+)$", text_of("deploy/pgbouncer/pgbouncer.ini"), re.M)[1])
    assert files > clients + 100
    assert compose(**PASSWORDS)["services"]["pgbouncer"]["ulimits"]["nofile"]["hard"] > clients + 100
