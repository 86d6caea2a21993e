# A PostgreSQL server of our own for one test run: on a free loopback port, in a temporary folder. Sourced by tests/run.

postgres_folder=""
postgres_bin=""

# PostgreSQL refuses to run as root, so root hands it to the `postgres` user that its package made.
as_postgres() {
  if [ "$(id -u)" -eq 0 ]; then
    (cd / && runuser -u postgres -- "$@")
  else
    "$@"
  fi
}

find_postgres() {
  postgres_bin=$(find /usr/lib/postgresql/*/bin -name initdb -printf '%h\n' 2>/dev/null | sort -t/ -k5 -rn | head -n 1)
  if [ -z "$postgres_bin" ] && command -v initdb >/dev/null; then
    postgres_bin=$(dirname "$(command -v initdb)")
  fi
  [ -n "$postgres_bin" ]
}

install_postgres() {
  # The package would otherwise start a server of its own on the standard port.
  if [ "$(id -u)" -eq 0 ] && [ ! -e /etc/postgresql-common/createcluster.conf ]; then
    mkdir -p /etc/postgresql-common
    echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.conf
  fi
  install_packages postgresql
}

# Starts the server and exports COLLOQUY_TEST_POSTGRES_URL. A URL that is already set is used as it is, and nothing is started.
start_postgres() {
  if [ -n "${COLLOQUY_TEST_POSTGRES_URL:-}" ]; then
    say "PostgreSQL: the one COLLOQUY_TEST_POSTGRES_URL names"
    return
  fi
  find_postgres || { install_postgres && find_postgres; } || fail "no initdb under /usr/lib/postgresql or in PATH"

  local password port attempt
  password=$(od -An -tx1 -N16 /dev/urandom | tr -d ' \n')
  # Not under TMPDIR: that may be closed to the postgres user, and a socket's path must stay short.
  postgres_folder=$(mktemp -d /tmp/colloquy-postgres.XXXXXX)
  printf '%s\n' "$password" >"$postgres_folder/password"
  if [ "$(id -u)" -eq 0 ]; then chown -R postgres "$postgres_folder"; fi

  as_postgres "$postgres_bin/initdb" --pgdata="$postgres_folder/data" --username=colloquy --pwfile="$postgres_folder/password" \
    --auth=scram-sha-256 --encoding=UTF8 --locale=C.UTF-8 >"$postgres_folder.initdb.log" 2>&1 || {
    cat "$postgres_folder.initdb.log" >&2
    fail "initdb failed"
  }
  rm -f "$postgres_folder.initdb.log"

  # What these tests write need not survive a loss of power; those of tests/faults start servers of their own.
  # A port is known to be free once PostgreSQL has it. These are below those that the kernel hands out by itself.
  for attempt in 1 2 3 4 5; do
    port=$((20000 + RANDOM % 12000))
    if as_postgres "$postgres_bin/pg_ctl" --pgdata="$postgres_folder/data" --log="$postgres_folder/server.log" --wait \
      -o "-c listen_addresses=127.0.0.1 -c port=$port -c unix_socket_directories=$postgres_folder -c max_connections=800 \
        -c fsync=off -c full_page_writes=off -c max_wal_size=256MB" \
      --timeout=60 start </dev/null >/dev/null; then
      export COLLOQUY_TEST_POSTGRES_URL="postgres://colloquy:$password@127.0.0.1:$port/postgres"
      say "PostgreSQL: $("$postgres_bin/postgres" --version), port $port"
      return
    fi
  done
  tail -n 30 "$postgres_folder/server.log" >&2 || true
  fail "PostgreSQL did not start in $attempt attempts"
}

# Ends servers that tests started and could not end themselves, and removes their data: a PostgreSQL leaves the process group of
# whoever starts it. They are known by TESTS_RUN_MARK in their environment, which no other run's have.
stop_marked_postgres() {
  local process data pid
  for process in /proc/[0-9]*; do
    { [ "$(cat "$process/comm")" = postgres ] && grep -qzxF "TESTS_RUN_MARK=$TESTS_RUN_MARK" "$process/environ"; } 2>/dev/null ||
      continue
    pid=${process#/proc/}
    data=$(readlink "$process/cwd") || continue
    kill -QUIT "$pid" 2>/dev/null || continue
    timeout 10 tail --pid="$pid" -f /dev/null || kill -KILL "$pid" 2>/dev/null || true
    case $data in /tmp/colloquy-postgres*/data) rm -rf "${data%/data}" ;; esac
  done
}

# Stops the server that start_postgres started, if it did.
stop_postgres() {
  [ -n "$postgres_folder" ] || return 0
  if [ -s "$postgres_folder/data/postmaster.pid" ]; then
    as_postgres "$postgres_bin/pg_ctl" --pgdata="$postgres_folder/data" --mode=immediate --wait stop >/dev/null 2>&1 || true
  fi
  rm -rf "$postgres_folder"
  postgres_folder=""
}
