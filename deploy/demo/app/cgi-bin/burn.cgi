#!/bin/sh
# Work for the autoscaler to see: about a second of CPU.
i=0
while [ $i -lt 300000 ]; do i=$((i + 1)); done
printf 'Content-Type: text/plain\r\n\r\nburned\n'
