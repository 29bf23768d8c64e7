"""Configuration: every setting is checked at the start, named when it is wrong, and documented by the program."""

import re
import subprocess

import pytest

from lib.program import HANSARD, ROOT, SANITIZER, clean_environment, hansard

DOCUMENT = ROOT / "docs" / "configuration.md"
COMMANDS = ["serve", "migrate", "keys", "audit", "config", "version"]


def printed(**settings):
    done = hansard("config", **settings)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return dict(line.split("=", 1) for line in done.stdout.splitlines())


def documented():
    """{variable: (default, bounds)} of the table."""
    done = hansard("config", "--markdown")
    assert (done.returncode, done.stderr) == (0, "")
    rows = re.findall(r"^\| `(HANSARD_\w+)` \| (\S+) \| (.*?) \| .*? \| .*\. \|$", done.stdout, re.M)
    assert len(rows) == done.stdout.count("| `HANSARD_")
    return {name: (default.strip("`"), bounds) for name, default, bounds in rows}


def milliseconds(text):
    """Of a duration; other texts as they are."""
    found = re.fullmatch(r"(\d+)(ms|s|m|h|d)", text)
    return int(found[1]) * {"ms": 1, "s": 1000, "m": 60000, "h": 3600000, "d": 86400000}[found[2]] if found else text


def test_defaults():
    values = printed()
    assert values["HANSARD_LLM_CONCURRENCY"] == "10"
    assert milliseconds(values["HANSARD_SESSION_TTL"]) == 24 * 3600000
    assert values["HANSARD_AUTH"] == "optional"
    defaults = {name: "" if default == "(empty)" else default for name, (default, _) in documented().items()}
    assert {name: milliseconds(value) for name, value in values.items()} == {
        name: milliseconds(value) for name, value in defaults.items()
    }


def test_values_in_force():
    values = printed(queue_limit=7, session_ttl="90s", message_bytes="2k", llm_model="some model", system_prompt="a\nb")
    assert values["HANSARD_QUEUE_LIMIT"] == "7"
    assert values["HANSARD_SESSION_TTL"] == "90s"
    assert values["HANSARD_MESSAGE_BYTES"] == "2k"
    assert values["HANSARD_LLM_MODEL"] == "some model"
    assert values["HANSARD_SYSTEM_PROMPT"] == "a\\nb"


def test_secrets_are_masked():
    secret = "very-secret-word"
    url = f"postgresql://u:{secret}@h/d"
    done = hansard("config", database_url=url, migrate_url=url, llm_api_key=secret)
    assert secret not in done.stdout + done.stderr
    values = printed(database_url=url, migrate_url=url, llm_api_key=secret)
    for name in ("DATABASE_URL", "MIGRATE_URL", "LLM_API_KEY"):
        assert values[f"HANSARD_{name}"] == "******"
        assert printed()[f"HANSARD_{name}"] == ""


def test_unknown_name_is_an_error_that_names_it():
    for command in (["config"], ["serve"], ["migrate"], ["keys", "list"]):
        done = hansard(*command, sesion_ttl="1h")
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == "hansard: configuration: HANSARD_SESION_TTL is not a setting\n"


def test_names_of_others_are_theirs():
    done = subprocess.run(
        [HANSARD, "config"],
        env={**clean_environment(), "HANSARDX": "1", "XHANSARD_Y": "1", "hansard_auth": "x"},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0


@pytest.mark.skipif(bool(SANITIZER), reason="sanitizer builds know failpoints")
def test_failpoints_are_unknown_in_a_release():
    if "failpoints" not in HANSARD:
        assert "HANSARD_FAILPOINT is not a setting" in hansard("config", failpoint="x").stderr


@pytest.mark.parametrize(
    "name, value, reason",
    [
        ("llm_concurrency", "0", "from 1 to 100000 (calls)"),
        ("llm_concurrency", "100001", "from 1 to 100000 (calls)"),
        ("llm_concurrency", "ten", "from 1 to 100000 (calls)"),
        ("llm_concurrency", "", "from 1 to 100000 (calls)"),
        ("llm_concurrency", "1 ", "from 1 to 100000 (calls)"),
        ("llm_concurrency", "-1", "from 1 to 100000 (calls)"),
        ("llm_concurrency", "99999999999999999999", "from 1 to 100000 (calls)"),
        ("llm_concurrency", "10s", "from 1 to 100000 (calls)"),
        ("session_ttl", "10", "from 1s to 365d (duration)"),
        ("session_ttl", "10 s", "from 1s to 365d (duration)"),
        ("session_ttl", "10y", "from 1s to 365d (duration)"),
        ("session_ttl", "999ms", "from 1s to 365d (duration)"),
        ("session_ttl", "366d", "from 1s to 365d (duration)"),
        ("message_bytes", "0", "from 1 to 1M (bytes)"),
        ("message_bytes", "2M", "from 1 to 1M (bytes)"),
        ("message_bytes", "1kB", "from 1 to 1M (bytes)"),
        ("auth", "maybe", "one of optional|required"),
        ("auth", "REQUIRED", "one of optional|required"),
        ("log_level", "", "one of debug|info|warn|error"),
        ("llm_model", "", "from 1 to 200 bytes"),
        ("llm_model", "x" * 201, "from 1 to 200 bytes"),
        ("llm_model", "a\nb", "control characters"),
        ("listen", "8080", "host:port"),
        ("listen", "127.0.0.1:0", "host:port"),
        ("listen", "127.0.0.1:65536", "host:port"),
        ("listen", "127.0.0.1:http", "host:port"),
        ("listen", "::1:8080", "host:port"),
        ("llm_url", "127.0.0.1:8083/v1", "http:// or https://"),
        ("llm_url", "ftp://h/v1", "http:// or https://"),
        ("llm_url", "http://h/v1?a=b", "without query"),
        ("trusted_proxies", "10.0.0.0/33", "CIDR"),
        ("trusted_proxies", "proxy.internal", "CIDR"),
    ],
)
def test_bad_value_is_an_error_that_names_the_bounds(name, value, reason):
    for command in ("config", "serve"):
        done = hansard(command, **{name: value})
        assert (done.returncode, done.stdout) == (1, "")
        assert re.fullmatch(rf"hansard: configuration: HANSARD_{name.upper()} .*\n", done.stderr), done.stderr
        assert reason in done.stderr


def test_bad_secret_is_not_repeated():
    for name in ("database_url", "migrate_url", "llm_api_key"):
        done = hansard("config", **{name: "secret" * 400})
        assert done.returncode == 1
        assert "secretsecret" not in done.stderr and f"HANSARD_{name.upper()}" in done.stderr


def test_serve_says_what_is_missing():
    for settings, missing in (({}, "DATABASE_URL"), ({"database_url": "postgresql://h/d"}, "LLM_URL")):
        done = hansard("serve", **settings)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == f"hansard: serve: HANSARD_{missing} is not set\n"


def test_serve_on_a_port_that_is_taken(stack):
    told = stack.environment
    settings = {"database_url": told["HANSARD_DATABASE_URL"], "llm_url": told["LLM_URL"]}
    done = hansard("serve", listen=f"127.0.0.1:{stack.port}", **settings)
    assert done.returncode == 1
    assert f"127.0.0.1:{stack.port}" in done.stderr


@pytest.mark.skipif(not DOCUMENT.exists(), reason="docs/configuration.md is not written yet")
def test_document_is_generated():
    assert DOCUMENT.read_text(encoding="utf-8") == hansard("config", "--markdown").stdout


# ---- the program itself ----


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["help"]])
def test_help(words):
    done = hansard(*words)
    assert (done.returncode, done.stderr) == (0, "")
    for command in COMMANDS:
        assert re.search(rf"^  {command} +\w", done.stdout, re.M)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("word", ["--help", "-h"])
def test_help_of_each_command(command, word):
    done = hansard(command, word)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"Usage: hansard {command}")


def test_version():
    newest = max(int(path.name[:4]) for path in (ROOT / "sql" / "migrations").glob("*.sql"))
    for words in (["version"], ["--version"], ["-V"]):
        done = hansard(*words)
        assert re.fullmatch(rf"hansard \d+\.\d+\.\d+\S* \(schema {newest}\)\n", done.stdout), done.stdout


@pytest.mark.parametrize(
    "words", [[], ["what"], ["serve", "now"], ["config", "--html"], ["version", "now"], ["config", "--markdown", "x"]]
)
def test_misuse(words):
    done = hansard(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert "--help" in done.stderr or "Usage" in done.stderr
