# The clock of all timers. An administrator or a time server can set the clock of EPOCHSECONDS and SECONDS, which would make
# a wait longer or shorter.
# requires: lib/environment

read_uptime() { # sets REPLY to the time since the boot in hundredths of a second, on a clock that cannot be set
  local seconds hundredths
  IFS='. ' read -r seconds hundredths _ </proc/uptime
  REPLY=$((10#$seconds$hundredths))
}
