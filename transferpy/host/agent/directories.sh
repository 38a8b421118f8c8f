# The working directory of a session.
# requires: lib/events

enter_directory() { # DIRECTORY: makes it the working directory; PWD is then its path without symbolic links
  [[ $1 == /* ]] || set -- "./$1" # to cd, "-" is another directory
  cd -P -- "$1" 2>/dev/null || fail host "cannot enter the directory $1"
}
