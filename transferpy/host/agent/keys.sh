# The key pair of a session, and the certificates of its peers.
# requires: agent/tasks

certificate='' # of this session, in base64

start_key() { # starts to make a key pair and a certificate, if the session needs them
  # In a task: a signal would have to wait for a command in the foreground.
  [ "$encrypt" = no ] || start_task key make_key "$own_name"
}

finish_key() { # waits for the key pair; sets certificate
  [ "$encrypt" = yes ] || return 0
  wait_for_task key
  task_succeeded key || fail host "cannot make a key (is $run_directory full?): $(last_error key.err)"
  certificate=$(base64 -w0 <"$run_directory/certificate.pem")
}

make_key() { # NAME: makes key.pem and certificate.pem in the run directory, for that common name
  # Valid from 1970 on, so that a wrong clock on one of the hosts does not matter. Each peer accepts this certificate only, and
  # the key exists only as long as this session.
  cd "$run_directory" && : >index && printf '%s\n' '[ca]' 'default_ca=own' '[own]' 'database=index' 'rand_serial=yes' \
    'default_md=sha256' 'policy=any' 'new_certs_dir=.' '[any]' 'commonName=supplied' '[req]' 'distinguished_name=dn' \
    '[dn]' >ca.cnf &&
    openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key.pem -subj "/CN=$1" -config ca.cnf \
      -out request.pem &&
    openssl ca -batch -selfsign -notext -config ca.cnf -keyfile key.pem -in request.pem \
      -startdate 19700101000000Z -enddate 99991231235959Z -out certificate.pem
}

accept_peer() { # FILE CERTIFICATE: makes a certificate in base64 the only one that a stream accepts, by its file
  [ "$encrypt" = no ] || base64 -d <<<"$2" >"$run_directory/$1" || fail_cannot_write
}
