# Does the kernel do ESP? Two namespaces, transport mode, two echo requests, and the counter of the SA that carried them.
set -e
ip netns add A
ip netns add B
ip link add va netns A type veth peer name vb netns B
K=0x0102030405060708090a0b0c0d0e0f1011121314
ip -n A addr add 192.0.2.1/24 dev va
ip -n B addr add 192.0.2.2/24 dev vb
ip -n A link set va up
ip -n B link set vb up
for n in A B; do
 ip -n $n xfrm state add src 192.0.2.1 dst 192.0.2.2 proto esp spi 1 reqid 1 mode transport aead 'rfc4106(gcm(aes))' $K 128
 ip -n $n xfrm state add src 192.0.2.2 dst 192.0.2.1 proto esp spi 2 reqid 1 mode transport aead 'rfc4106(gcm(aes))' $K 128
 if [ $n = A ]; then o=out i=in; else o=in i=out; fi
 ip -n $n xfrm policy add src 192.0.2.1 dst 192.0.2.2 dir $o tmpl proto esp reqid 1 mode transport
 ip -n $n xfrm policy add src 192.0.2.2 dst 192.0.2.1 dir $i tmpl proto esp reqid 1 mode transport
done
ip netns exec A ping -q -c 2 -i 0.2 -W 5 192.0.2.2
ip -n B -s xfrm state | grep -q '2(packets)'
