# Installs rabbitmq-server on Debian and Ubuntu, without leaving a system-wide node running. Run as root.
set -e
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    # asked by the package before it starts its service; 101 means no
    trap 'rm -f "$policy"' EXIT
    trap 'exit 1' HUP INT TERM
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
fi
export DEBIAN_FRONTEND=noninteractive
apt-get -q -o DPkg::Lock::Timeout=120 update
apt-get -q -o DPkg::Lock::Timeout=120 install -y --no-install-recommends rabbitmq-server
# an existing policy may have allowed the start; and it should not start at the next boot either
invoke-rc.d rabbitmq-server stop || true
if [ -d /run/systemd/system ]; then
    systemctl disable rabbitmq-server || true
fi
