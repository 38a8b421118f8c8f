# The key pair of a session, and the certificate of its peer.
# requires: agent/tasks

begin_key() { # NAME: begins to make a fresh key pair and a certificate for that name, where there is a use for it
  # A job: a signal has to wait for what runs in the foreground.
  [ "$encrypt" = no ] || launch key write_key "$1"
}

await_key() { # sets certificate
  [ "$encrypt" = yes ] || return 0
  await_end key
  [ "${ended[key]}" = 0 ] || fail host "cannot make a key (is $run_directory full?): $(reason key.err)"
  certificate=$(base64 -w0 <"$run_directory/certificate.pem")
}

write_key() { # NAME: into the run directory
  # Valid from 1970 on, so that a clock that goes wrong on one of the hosts does not matter: the pinned key is the proof,
  # and it lives only as long as this session.
  cd "$run_directory" && : >index && printf '%s\n' '[ca]' 'default_ca=own' '[own]' 'database=index' 'rand_serial=yes' \
    'default_md=sha256' 'policy=any' 'new_certs_dir=.' '[any]' 'commonName=supplied' '[req]' 'distinguished_name=dn' \
    '[dn]' >ca.cnf &&
    openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key.pem -subj "/CN=$1" -config ca.cnf \
      -out request.pem &&
    openssl ca -batch -selfsign -notext -config ca.cnf -keyfile key.pem -in request.pem \
      -startdate 19700101000000Z -enddate 99991231235959Z -out certificate.pem
}

accept_peer() { # CERTIFICATE: the only one that this session's stream accepts from now on
  base64 -d <<<"$1" >"$run_directory/peer.pem" || fail host "cannot write in $run_directory: is it full?"
}
