# Programs that can write only in the working directory.
# requires: lib/environment perl/confine

confine() { # COMMAND [ARGUMENT ...]: runs a command that can write only in the working directory
  unshare --mount --propagation slave perl -e "$perl_confine" "$@"
}
