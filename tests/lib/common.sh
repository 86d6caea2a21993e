# What tests/run and .ci/run share: the cache folder, section headers, and a summary of what passed and failed.
# Sourced, not run.

# Everything that is downloaded or built once lives here, outside the checkout.
cache="${COLLOQUY_CACHE_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/colloquy}"
mkdir -p "$cache"

summary_lines=()
any_failed=0

say() { printf '%s\n' "$*"; }

# Prints what went wrong and ends the part it is called in.
fail() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

# The process group of the section that runs.
section_group=""

# section NAME COMMAND…: runs the command in a subshell and a process group of its own, and notes how it ended and how long it
# took. A failure does not stop the sections after it. The command must not stand in an `if` or `||`: there, bash would ignore
# `set -e` inside of it. Whoever uses sections calls `end_section` when it ends.
section() {
  local name=$1 code started=$SECONDS
  shift
  printf '\n======== %s ========\n' "$name"
  set +e
  set -m
  (
    set +m
    set -e
    "$@"
  ) </dev/null &
  section_group=$!
  set +m
  wait "$section_group"
  code=$?
  set -e
  end_section
  note "$name" "$code" $((SECONDS - started))
}

# Ends what is left of a section: gently as long as it tidies up, and then everything that it started.
end_section() {
  [ -n "$section_group" ] || return 0
  if kill -TERM "$section_group" 2>/dev/null; then
    kill -TERM -- "-$section_group" 2>/dev/null || true
    timeout 30 tail --pid="$section_group" -f /dev/null || true
  fi
  kill -KILL -- "-$section_group" 2>/dev/null || true
  section_group=""
}

# note NAME CODE SECONDS: adds a line to the summary.
note() {
  local word=passed
  if [ "$2" -ne 0 ]; then
    word="FAILED ($2)"
    any_failed=1
  fi
  summary_lines+=("$(printf '%-28s %-14s %4d s' "$1" "$word" "$3")")
  printf -- '-------- %s: %s after %d s\n' "$1" "$word" "$3"
}

# Prints the summary and ends: with 1 when any section failed.
finish() {
  printf '\n======== summary ========\n'
  printf '%s\n' "${summary_lines[@]}"
  exit "$any_failed"
}

# install_packages PACKAGE…: installs Debian packages, which takes root; otherwise says which are missing.
install_packages() {
  if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    fail "please install: $*"
  fi
  say "installing $*"
  export DEBIAN_FRONTEND=noninteractive
  local log="$cache/apt.log"
  { apt-get update && apt-get install --yes --no-install-recommends -o Dpkg::Options::=--force-confold "$@"; } \
    </dev/null >"$log" 2>&1 || {
    tail -n 30 "$log" >&2
    fail "apt-get could not install $*"
  }
}

# need COMMAND PACKAGE…: installs the packages when the command is missing.
need() {
  command -v "$1" >/dev/null || install_packages "${@:2}"
}

# once FOLDER COMMAND…: runs the command with a new folder as its last argument, and keeps that folder as FOLDER if it succeeds.
# So an interrupted installation is never mistaken for a finished one.
once() {
  local folder=$1 fresh
  shift
  [ ! -d "$folder" ] || return 0
  fresh=$(mktemp -d "$folder.XXXXXX")
  if ! "$@" "$fresh" </dev/null; then
    rm -rf "$fresh"
    fail "could not prepare $folder"
  fi
  mv -T "$fresh" "$folder" 2>/dev/null || rm -rf "$fresh" # somebody else was faster
}

# digest FILE…: a short name for the contents of files.
digest() { cat "$@" | sha256sum | cut -c 1-12; }
