# The checks of deploy/: what they need, and how they are run. Sourced by tests/run.

# Its wheel is wanted for the schema of compose files in it; its dependencies are old and not needed for that.
compose_schema_of=docker-compose==1.29.2

deploy_tools="$cache/deploy-$(digest tests/deploy/requirements.txt tests/lib/deploy.sh)"

# from_debian FOLDER SUITE PACKAGE…: unpacks packages of a Debian suite into FOLDER. Nothing is installed, so that no server is
# started, and this machine's sources do not change.
from_debian() {
  local folder=$1 suite=$2 package
  local apt="$folder/.apt-$suite"
  command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null ||
    fail "please install kustomize (5 or newer) and promtool: without apt, they cannot be fetched"
  mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial"
  # The keys that apt believes anyway, unless there is a file of Debian's, by either of its names.
  local keyring trust=""
  for keyring in /usr/share/keyrings/debian-archive-keyring.{gpg,pgp}; do
    if [ -r "$keyring" ]; then trust="[signed-by=$keyring] " && break; fi
  done
  printf 'deb %shttp://deb.debian.org/debian %s main\n' "$trust" "$suite" >"$apt/sources.list"
  local options=(-qq -o Dir::Etc::SourceList="$apt/sources.list" -o Dir::Etc::SourceParts=/dev/null
    -o Dir::State::Lists="$apt/lists" -o Dir::Cache="$apt/cache" -o Acquire::Languages=none)
  if [ "$(id -u)" -eq 0 ]; then options+=(-o APT::Sandbox::User=root); fi
  apt-get "${options[@]}" update
  for package in "${@:3}"; do
    (cd "$apt/cache" && apt-get "${options[@]}" download "$package" && dpkg-deb --extract "${package}"_*.deb "$folder")
  done
  rm -rf "$apt"
}

fetch_deploy_tools() {
  python3 -m venv "$1"
  "$1/bin/pip" install --quiet --disable-pip-version-check -r tests/deploy/requirements.txt
  "$1/bin/pip" install --quiet --disable-pip-version-check --no-deps "$compose_schema_of"
  # Schemas of every release of Kubernetes are 300 MB; two releases are looked at.
  find "$1"/lib/python3*/site-packages/kubernetes_validate/kubernetes-json-schema -mindepth 1 -maxdepth 1 -type d \
    ! -name v1.30.0-local-strict ! -name v1.37.0-local-strict -exec rm -rf {} +
  # Only Debian's next release has kustomize; its package needs nothing but libc.
  command -v kustomize >/dev/null || from_debian "$1/debian" forky kustomize
  command -v promtool >/dev/null || from_debian "$1/debian" bookworm prometheus
  command -v nats-server >/dev/null || from_debian "$1/debian" bookworm nats-server
}

install_deploy_tools() {
  python3 -c 'import ensurepip, venv' 2>/dev/null || install_packages python3 python3-venv
  need openssl openssl
  once "$deploy_tools" fetch_deploy_tools
}

# Needs COLLOQUY_BIN: the binary that the manifests are compared with.
deploy_tests() {
  PATH="$PATH:$deploy_tools/debian/usr/bin:$deploy_tools/debian/usr/sbin" COLLOQUY_BIN="${COLLOQUY_BIN:-$target/debug/colloquy}" \
    "$deploy_tools/bin/python" -B -m pytest -p no:cacheprovider tests/deploy
}
