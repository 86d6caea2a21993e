# An S3-compatible server of our own for one test run: on a free loopback port, in memory. Sourced after common.sh.
#
# It is moto, which knows multipart uploads, ranges, conditional writes and their listings, and takes seconds to install.

s3_pid=""
s3_folder=""
s3_python=""
s3_requirements="$(dirname "${BASH_SOURCE[0]}")/s3-requirements.txt"

install_s3() {
  python3 -m venv "$1" && "$1/bin/pip" install --quiet --disable-pip-version-check -r "$s3_requirements"
}

# s3_answers ENDPOINT BUCKET: makes the bucket, which works as soon as the server does; again is no error.
s3_answers() {
  "$s3_python" - "$1" "$2" <<'PYTHON' 2>/dev/null
import sys, urllib.request
request = urllib.request.Request(f"{sys.argv[1]}/{sys.argv[2]}", method="PUT")
urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=5).read()
PYTHON
}

# Starts the server, makes a bucket and exports COLLOQUY_TEST_S3_URL and the AWS_… variables that reach it. Where
# COLLOQUY_TEST_S3_URL is set already, it and the caller's AWS_… variables are used as they are, and nothing is started.
start_s3() {
  if [ -n "${COLLOQUY_TEST_S3_URL:-}" ]; then
    say "S3: the one COLLOQUY_TEST_S3_URL names"
    return
  fi
  python3 -c 'import ensurepip, venv' 2>/dev/null || install_packages python3 python3-venv
  local environment attempt endpoint="" bucket="colloquy-tests"
  environment="$cache/s3-$(digest "$s3_requirements")"
  once "$environment" install_s3
  # The programs of an environment that was moved name the old place, its `python` does not.
  s3_python="$environment/bin/python"
  s3_folder=$(mktemp -d "${TMPDIR:-/tmp}/colloquy-s3.XXXXXX")

  # No settings of somebody's real account may reach the tests.
  local name
  for name in $(compgen -e -- AWS_ || true); do unset "$name"; done
  PYTHONUNBUFFERED=1 "$s3_python" -m moto.server --host 127.0.0.1 --port 0 </dev/null >"$s3_folder/server.log" 2>&1 &
  s3_pid=$!
  for attempt in $(seq 1 300); do
    kill -0 "$s3_pid" 2>/dev/null || break
    endpoint=$(sed -n 's/^.*Running on \(http:\/\/127\.0\.0\.1:[0-9]*\).*$/\1/p' "$s3_folder/server.log" | head -n 1)
    if [ -n "$endpoint" ] && s3_answers "$endpoint" "$bucket"; then
      export AWS_ENDPOINT="$endpoint" AWS_ALLOW_HTTP=true AWS_REGION=us-east-1
      export AWS_ACCESS_KEY_ID=tests AWS_SECRET_ACCESS_KEY
      AWS_SECRET_ACCESS_KEY=$(od -An -tx1 -N16 /dev/urandom | tr -d ' \n')
      export COLLOQUY_TEST_S3_URL="s3://$bucket/tests"
      say "S3: $("$s3_python" -c 'import moto; print("moto", moto.__version__)'), $endpoint"
      return
    fi
    sleep 0.1
  done
  tail -n 30 "$s3_folder/server.log" >&2 || true
  stop_s3
  fail "the S3 server did not start in $attempt attempts"
}

# Stops the server that start_s3 started, if it did.
stop_s3() {
  [ -n "$s3_pid" ] || return 0
  if kill -TERM "$s3_pid" 2>/dev/null; then
    timeout 10 tail --pid="$s3_pid" -f /dev/null || kill -KILL "$s3_pid" 2>/dev/null || true
  fi
  rm -rf "$s3_folder"
  s3_pid="" s3_folder=""
}
