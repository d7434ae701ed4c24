#!/bin/bash
# In the machine that run.sh has booted: runs test programs whose workers begin each in a group of their own, as with
# Delegate=yes of a unit.
#
#     inside.sh PROGRAM... BUILD
set -u
build=${*: -1}
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export HOME=/tmp SHOAL_BUILD=$build CK_TIMEOUT_MULTIPLIER=${CK_TIMEOUT_MULTIPLIER:-20}
unit=/sys/fs/cgroup/unit
status=0

# What is called shoal-worker enters the unit's group first, which is empty: the test is beside it, where a worker of
# before would be. While another worker has given the group's controllers away, it may have no processes.
mkdir -p $unit/shoal-keeper /run/build
echo +memory +pids +cpu > /sys/fs/cgroup/cgroup.subtree_control
echo $$ > $unit/shoal-keeper/cgroup.procs
mount --bind "$build" /run/build
cat > /run/shoal-worker << 'END'
#!/bin/sh
: > /run/has-begun
{
    echo -memory -pids -cpu > /sys/fs/cgroup/unit/cgroup.subtree_control
    echo $$ > /sys/fs/cgroup/unit/cgroup.procs && : > /run/has-been-alone
} 2> /dev/null
exec /run/build/shoal-worker "$@"
END
chmod +x /run/shoal-worker
mount --bind /run/shoal-worker "$build/shoal-worker"

echo "controllers: $(cat $unit/cgroup.controllers)"
for program in "${@:1:$#-1}"; do
    CK_LOG_FILE_NAME=- "$build/tests/$program" || status=1
done
if [ -e /run/has-begun ] && [ ! -e /run/has-been-alone ]; then
    echo "no worker had the group to itself"
    status=1
fi
[ $status -ne 0 ] || echo "all is well"
