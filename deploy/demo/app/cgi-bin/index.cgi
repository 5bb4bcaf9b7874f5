#!/bin/sh
# The middle: asks the data tier for the number of this visit.
visits=$(wget -qO- http://data:8080/cgi-bin/index.cgi)
if [ -z "$visits" ]; then
  printf 'Status: 502 Bad Gateway\r\n\r\n'
  exit 0
fi
printf 'Content-Type: text/plain\r\n\r\napp %s -> %s' "$(hostname)" "$visits"
