# The inputs of a session: the variables that the plan sets after this file. "yes or no" is one of these words.
#
# The plan also defines functions: open_firewall, which adds the firewall rules; register_firewall_undo, which adds their undo
# entries; prepare_copy; and pipelines: send_EDGE_CODEC, send_probe_EDGE, receive_CODEC and receive_probe, and for
# several lanes send_EDGE_lanes_CODEC and receive_lanes_CODEC. A pipeline that sends reads peer_address, peer_port and send_buffer, a
# pipeline that receives reads port and receive_buffer. Both read lane, and a lane that
# sends reads lane_threads.

# All sessions.
declare -a abilities        # the names of files of agent/, in the order in which the session prepares them
declare own_name            # the common name of the certificate that the session makes
declare cores               # the number of processes that may digest files at the same time
declare transfer_type       # file, xtrabackup or decompress
declare encrypt             # yes or no: the streams are encrypted
declare checksum            # yes or no: files are digested
declare -a digest_tool      # with checksums, the command that digests files
declare priority            # low or normal: the CPU and I/O priority
declare -A progress_program # by pipeline, the program of the stage whose input is the progress of the stream
declare one_file_system     # yes or no: lists leave out the content of other file systems
declare source_name         # the name of the source, and of the copy in the staging directory
declare owner               # USER or USER:GROUP to own the copy; empty to keep the owners

# The ability to read.
declare source_directory # the directory that holds the source; of a server, its data directory
declare distributes      # yes or no: the entries are listed so that they can be distributed over lanes
declare stop_slave       # yes or no: replication is stopped during a backup
declare safe_timeout     # the seconds to wait for a moment without open temporary tables of replication
declare max_stop_time    # the maximum time of a stop of replication, in seconds; 0: no limit
declare -a client        # for a backup, the words of the database client
declare -a benchmarked   # the labels of the codecs that are measured on a sample; each has an array benchmark_CODEC, a command
declare sample_directory # the directory from which the sample is taken; empty for the source itself
declare sampled_bytes    # the sum of the sizes of the files over which the sample is spread; 0 if unknown

# The ability to connect.
declare compress_threads # the number of processors that the compressors of all lanes of a stream may use

# The ability to listen.
declare wanted_port    # a port, or 0 for a free one
declare shares_port    # yes or no: the listener shares its port with the process that holds the port (SO_REUSEPORT)
declare probe          # yes or no: the session also receives a probe, which measures the link
declare probe_buffer   # the receive buffer of the probe in bytes; 0 to leave it to the kernel
declare sender_address # the address from which the sender connects

# The abilities to unpack, verify and publish.
declare target_directory # the target directory
declare create_target    # yes or no: the session makes the target directory if it is missing
declare staging_name     # the name of the staging directory in it
declare final_name       # the name of the copy in it
declare prepare          # yes or no: a hot copy is prepared
