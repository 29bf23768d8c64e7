"""TAP: each story of a file is one test; what it asserts decides."""

import sys
import traceback

from stage.connection import strike

_stories = []


def story(what):
    """Marks a function as the story that shows this."""

    def mark(play):
        _stories.append((what, play))
        return play

    return mark


def run():
    """Play all stories of the file, in order."""
    failed = 0
    print(f"1..{len(_stories)}")
    for number, (what, play) in enumerate(_stories, 1):
        try:
            play()
            print(f"ok {number} - {what}")
        except Exception:  # whatever it is, the next story is played
            failed += 1
            print(f"not ok {number} - {what}")
            lines = [f'Failed test {number}: "{what}"', *traceback.format_exc().splitlines()]
            print("".join(f"# {line}\n" for line in lines), end="", file=sys.stderr)
        finally:
            strike()
        sys.stdout.flush()
    sys.exit(min(failed, 100))
