#!/usr/bin/env bash
# Follows README.md as somebody does who has never seen the project: a clone, an empty home, nothing but the system's
# programs. The commands are those of its blocks, word for word and in their order; blocks that need root and a phone
# are left to tests/test_docs_lab.py.
#
#   tests/newcomer.sh [FOLDER]    FOLDER is kept; without it, one is made and removed
set -euo pipefail
repository="$(cd "$(dirname "$0")/.." && pwd)"
if (($#)); then
  folder="$(mkdir -p "$1" && cd "$1" && pwd)"
else
  folder="$(mktemp -d)"
  trap 'rm -rf "$folder"' EXIT
fi
mkdir "$folder/home"
git clone --quiet "$repository" "$folder/flowgauge"

# The blocks as one script: shell as it is, Python for the Python of that moment.
awk '
  /^```$/ && block { if (block == "python") print "PYTHON"; block = ""; next }
  /^```(shell|shell newcomer|python)$/ { block = substr($1, 4)
    if (block == "python") print "python - <<\"PYTHON\""
    next }
  block { print; if (block == "shell" && /./) print "echo \"--- ${SECONDS} s\" >&2" }
' "$folder/flowgauge/README.md" > "$folder/readme.sh"

# What a machine needs to reach its package index is its own affair, and passes.
passed=(HOME="$folder/home" PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8)
while IFS= read -r variable; do passed+=("$variable"); done < <(env | grep -E '^(PIP_[A-Z_]+|[A-Za-z]+_(proxy|PROXY))=' || true)
cd "$folder/flowgauge"
env -i "${passed[@]}" bash -exuo pipefail "$folder/readme.sh"
echo "the README was followed in $SECONDS s"
