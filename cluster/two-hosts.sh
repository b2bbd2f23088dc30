#!/usr/bin/env bash
# Simulated hosts on one machine: network namespaces on a bridge, each with a host name and an address of its own, so
# that ranks talk over TCP as between machines. Needs root, and a kernel that permits namespaces.
#
#   cluster/two-hosts.sh -- COMMAND [ARGUMENTS…]         builds the hosts, runs one rank of COMMAND on each, removes them
#   cluster/two-hosts.sh --ranks 4 --rate 1gbit -- dtrain train --data mnist:DIR
#   cluster/two-hosts.sh up                              builds the hosts and leaves them
#   cluster/two-hosts.sh run -- COMMAND [ARGUMENTS…]     runs COMMAND on hosts that are up
#   cluster/two-hosts.sh link n2 down                    cuts the cable of a host that is up (or: link n2 up)
#   cluster/two-hosts.sh down                            removes them
#
# Options, before the command:
#   --hosts N      hosts, named n1, n2, … (default 2)
#   --ranks N      ranks in all, spread over the hosts in turn (default: one a host)
#   --rate RATE    limits what each host sends, as tc-tbf(8) writes it: 100mbit, 1gbit (default: no limit)
#   --name NAME    tells several sets of hosts apart (default: dt)
#   --mpirun ARG   one more argument for mpirun; may be given more than once
#
# Exit codes: those of mpirun; 2 wrong usage; 77 where hosts cannot be simulated here (so that a test skips).
set -Eeuo pipefail

hosts=2 ranks='' rate='' name=dt extra=()
self=$(readlink -f "$0")

die() { echo "two-hosts.sh: $2" >&2; exit "$1"; }
usage() { sed -n '2,19p' "$self" | sed 's/^# \{0,1\}//' >&2; exit 2; }

namespace() { echo "$name-n$1"; }
# An address range of its own for each NAME, so that sets of hosts do not meet: 10.x.y.0/24.
subnet() {
    local sum
    sum=$(printf %s "$name" | cksum | cut -d' ' -f1)
    echo "10.$((64 + sum % 128)).$((sum / 128 % 256))"
}

check_permitted() {
    [ "$(id -u)" = 0 ] || die 77 "only root may create network namespaces: run it with sudo, or train on real hosts (cluster/README.md)"
    for tool in ip tc unshare mpirun; do
        command -v "$tool" >/dev/null || die 77 "$tool is missing: apt-get install iproute2 util-linux openmpi-bin"
    done
    local probe="$name-probe-$$"
    if ! ip netns add "$probe" 2>/dev/null; then die 77 "this kernel or container does not permit network namespaces"; fi
    local works=0
    ip netns exec "$probe" unshare --uts true 2>/dev/null || works=1
    ip netns del "$probe"
    [ $works = 0 ] || die 77 "this container does not permit a host name of its own (unshare --uts)"
}

up() {
    check_permitted
    local net index space
    net=$(subnet)
    ip link show "$name-bridge" >/dev/null 2>&1 && die 2 "hosts of the name $name are up already: '$0 --name $name down' removes them"
    ip link add "$name-bridge" type bridge || die 77 "this kernel has no bridges"
    # mpirun itself runs outside the hosts, on the bridge: the login node of this cluster.
    ip addr add "$net.254/24" dev "$name-bridge"
    ip link set "$name-bridge" up
    for index in $(seq "$hosts"); do
        space=$(namespace "$index")
        ip netns add "$space"
        ip link add "$name-v$index" type veth peer name eth0 netns "$space"
        ip link set "$name-v$index" master "$name-bridge" up
        ip -n "$space" addr add "$net.$index/24" dev eth0
        ip -n "$space" link set lo up
        ip -n "$space" link set eth0 up
        if [ -n "$rate" ]; then
            ip netns exec "$space" tc qdisc add dev eth0 root tbf rate "$rate" burst 256kb latency 50ms
        fi
    done
}

down() {
    local space cable
    for space in $(ip netns list 2>/dev/null | awk -v n="$name-n" 'index($1, n) == 1 { print $1 }'); do
        ip netns pids "$space" 2>/dev/null | xargs -r kill -KILL 2>/dev/null || true
        ip netns del "$space" || true
    done
    # A namespace lives on while a process in it ends; its cable must be gone at once.
    for cable in $(ip -o link show type veth | grep -oE "\b$name-v[0-9]+\b" | sort -u); do
        ip link del "$cable" 2>/dev/null || true
    done
    ip link del "$name-bridge" 2>/dev/null || true
}

# What mpirun calls in the place of ssh: AGENT [OPTIONS] HOST COMMAND…
agent() {
    while [ "${1#-}" != "$1" ]; do shift; done
    local host=$1
    shift
    exec ip netns exec "$TWO_HOSTS_NAME-$host" unshare --uts sh -c 'hostname "$1"; shift; exec sh -c "$*"' sh "$host" "$@"
}

run() {
    [ $# -gt 0 ] || usage
    local list='' index space net slots count=0
    net=$(subnet)
    for space in $(ip netns list | awk -v n="$name-n" 'index($1, n) == 1 { print $1 }' | sort -V); do
        count=$((count + 1))
    done
    [ $count -gt 0 ] || die 2 "no hosts are up: '$0 up' builds them"
    ranks=${ranks:-$count}
    slots=$(((ranks + count - 1) / count))
    for index in $(seq $count); do list="$list,n$index:$slots"; done
    # Ranks reach each other over TCP alone, on the hosts' network alone. mpirun looks every few seconds whether the
    # hosts still answer: without that, a cut cable leaves it waiting for hours.
    OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 TWO_HOSTS_NAME=$name \
        mpirun --mca plm_rsh_agent "$self agent" --mca plm_rsh_no_tree_spawn 1 \
        --host "${list#,}" -np "$ranks" --map-by node --bind-to none --oversubscribe \
        --mca btl tcp,self --mca pml ob1 --mca btl_tcp_if_include "$net.0/24" --mca oob_tcp_if_include "$net.0/24" \
        --mca oob_tcp_keepalive_time 5 --mca oob_tcp_keepalive_intvl 2 --mca oob_tcp_keepalive_probes 2 \
        -x OMPI_ALLOW_RUN_AS_ROOT -x OMPI_ALLOW_RUN_AS_ROOT_CONFIRM \
        ${extra[@]+"${extra[@]}"} "$@"
}

[ "${1-}" != agent ] || { shift; agent "$@"; }

while [ $# -gt 0 ]; do
    case $1 in
    --hosts) hosts=${2:?}; shift 2 ;;
    --ranks) ranks=${2:?}; shift 2 ;;
    --rate) rate=${2:?}; shift 2 ;;
    --name) name=${2:?}; shift 2 ;;
    --mpirun) extra+=("${2:?}"); shift 2 ;;
    *) break ;;
    esac
done
[ ${#name} -le 6 ] || die 2 "--name has at most six letters: interface names are short"

case ${1-} in
up)
    trap down ERR
    up ;;
down) down ;;
link)
    [ $# = 3 ] || usage
    ip -n "$name-$2" link set eth0 "$3" ;;
run)
    shift
    [ "${1-}" = -- ] && shift
    run "$@" ;;
--)
    shift
    [ $# -gt 0 ] || usage
    check_permitted
    trap down EXIT
    trap 'exit 130' INT TERM
    up
    run "$@" ;;
*) usage ;;
esac
