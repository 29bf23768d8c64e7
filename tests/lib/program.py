"""Program: the binaries under test, and `hansard` as a command."""

import os
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
HANSARD = os.path.abspath(os.environ.get("HANSARD_BIN", ROOT / "build" / "hansard"))
DEMO_LLM = os.path.abspath(os.environ.get("DEMO_LLM_BIN", ROOT / "build" / "demo-llm"))
SANITIZER = os.environ.get("TEST_SANITIZER", "")
# Everything takes longer under a sanitizer.
PATIENCE = 6 if SANITIZER else 1


def clean_environment():
    """Ours, without what is meant for another Hansard or another stack."""
    foreign = ("HANSARD_", "STACK_", "DEMO_LLM_BIN")
    kept = ("STACK_READY_SECONDS",)
    return {name: value for name, value in os.environ.items() if name in kept or not name.startswith(foreign)}


def settings_environment(settings):
    """llm_concurrency=3 is HANSARD_LLM_CONCURRENCY=3."""
    return {f"HANSARD_{name.upper()}": str(value) for name, value in settings.items()}


def hansard(*words, **settings):
    """Run `hansard WORDS` with these settings; gives returncode, stdout, stderr."""
    return subprocess.run(
        [HANSARD, *words],
        env={**clean_environment(), **settings_environment(settings)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60 * PATIENCE,
        check=False,
    )
