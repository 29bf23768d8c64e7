#!/bin/sh
# Makes .env beside docker-compose.yml from env.example, with random passwords. Leaves one that is there alone.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
target=$here/../../.env
if [ -e "$target" ]; then
    echo "setup: .env is there already, and stays as it is" >&2
    exit 0
fi

random_word() { od -An -N 24 -tx1 /dev/urandom | tr -d ' \n'; }

# Words go through the shell's own printf: arguments of programs can be read by everybody. The file appears when it is
# whole.
umask 077
while IFS= read -r line; do
    case $line in
    *_PASSWORD=) printf '%s%s\n' "$line" "$(random_word)" ;;
    *) printf '%s\n' "$line" ;;
    esac
done <"$here/env.example" >"$target.new"
mv "$target.new" "$target"
echo "setup: made .env with new passwords" >&2
