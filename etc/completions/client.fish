# Completion of client(1) for fish.
complete -c client -f
complete -c client -a 'localhost: udp: unix: tcp: vsock:'
complete -c client -s 4 -d 'IPv4 only'
complete -c client -s 6 -d 'IPv6 only'
complete -c client -s u -d UDP
complete -c client -s w -x -d 'seconds to wait'
complete -c client -s s -x -d 'come from that address or port'
complete -c client -s v -d "say both ends' addresses"
complete -c client -s q -d 'say nothing'
complete -c client -s h -d 'show the options'
complete -c client -s V -d 'name and version'
