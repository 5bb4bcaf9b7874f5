#!/bin/sh
# The front: asks the app tier by its service name and passes the answer on.
answer=$(wget -qO- http://app:8080/cgi-bin/index.cgi)
if [ -z "$answer" ]; then
  printf 'Status: 502 Bad Gateway\r\nContent-Type: text/plain\r\n\r\nthe app tier does not answer\n'
  exit 0
fi
printf 'Content-Type: text/plain\r\n\r\nweb %s -> %s\n' "$(hostname)" "$answer"
