# A NATS server with JetStream of our own for one test run: on a free loopback port, in a temporary folder. Sourced after common.sh.

nats_pid=""
nats_folder=""

# Installs the server and leaves nothing running: the package would otherwise start one on the standard port.
install_nats() {
  local policy=/usr/sbin/policy-rc.d made=""
  if [ "$(id -u)" -eq 0 ] && [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy" # 101: an action that is forbidden
    chmod +x "$policy"
    made=$policy
  fi
  # In a subshell: a failure must not leave the policy behind.
  local code=0
  (install_packages nats-server) || code=$?
  if [ -n "$made" ]; then rm -f "$made"; fi
  return "$code"
}

# Starts the server and exports COLLOQUY_TEST_NATS_URL. A URL that is already set is used as it is, and nothing is started.
start_nats() {
  if [ -n "${COLLOQUY_TEST_NATS_URL:-}" ]; then
    say "NATS: the one COLLOQUY_TEST_NATS_URL names"
    return
  fi
  command -v nats-server >/dev/null || install_nats || fail "there is no nats-server"
  nats_folder=$(mktemp -d "${TMPDIR:-/tmp}/colloquy-nats.XXXXXX")

  # Whichever ports are free: the server writes them to a file once it listens.
  nats-server --addr 127.0.0.1 --port -1 --jetstream --store_dir "$nats_folder/store" --ports_file_dir "$nats_folder" \
    </dev/null >"$nats_folder/server.log" 2>&1 &
  nats_pid=$!
  local attempt url=""
  for attempt in $(seq 1 300); do
    kill -0 "$nats_pid" 2>/dev/null || break
    url=$(sed -n 's/.*"\(nats:\/\/127\.0\.0\.1:[0-9]*\)".*/\1/p' "$nats_folder"/*.ports 2>/dev/null | head -n 1 || true)
    if [ -n "$url" ] && grep -q 'Server is ready' "$nats_folder/server.log"; then
      export COLLOQUY_TEST_NATS_URL="$url"
      say "NATS: $(nats-server --version), $url"
      return
    fi
    sleep 0.1
  done
  tail -n 30 "$nats_folder/server.log" >&2 || true
  stop_nats
  fail "nats-server did not start in $attempt attempts"
}

# Stops the server that start_nats started, if it did.
stop_nats() {
  [ -n "$nats_pid" ] || return 0
  if kill -TERM "$nats_pid" 2>/dev/null; then
    timeout 10 tail --pid="$nats_pid" -f /dev/null || kill -KILL "$nats_pid" 2>/dev/null || true
  fi
  rm -rf "$nats_folder"
  nats_pid="" nats_folder=""
}
