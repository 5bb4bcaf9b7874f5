#!/bin/sh
# The back: counts visits in a file on the named volume.
exec 9>/data/lock
flock 9
visits=$(($(cat /data/visits 2>/dev/null || echo 0) + 1))
echo $visits >/data/visits.new
mv /data/visits.new /data/visits
printf 'Content-Type: text/plain\r\n\r\ndata %s: visit %s' "$(hostname)" "$visits"
