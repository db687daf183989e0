#!/bin/sh
# Makes the files beside it with the `pki` tool of strongSwan and with openssl; kept for when they have to be made anew.
# The private keys are for tests and protect nothing.
set -eu
cd "$(dirname "$0")"
when='--dateform %Y-%m-%d --not-before 2026-01-01 --not-after 2056-01-01'
for kind in rsa ecdsa ed25519; do
	case $kind in rsa) size='--size 2048' ;; ecdsa) size='--size 256' ;; *) size= ;; esac
	for who in ca sub leaf; do
		pki --gen --type $kind $size --outform pem >$kind-$who.key
	done
	pki --self --ca --in $kind-ca.key --type $kind --dn "C=CH, O=Adit Test, CN=$kind root" $when --outform pem >$kind-ca.pem
	pki --issue --ca --pathlen 0 --in $kind-sub.key --type priv --cacert $kind-ca.pem --cakey $kind-ca.key \
		--dn "C=CH, O=Adit Test, CN=$kind sub" $when --outform pem >$kind-sub.pem
	pki --issue --in $kind-leaf.key --type priv --cacert $kind-sub.pem --cakey $kind-sub.key \
		--dn "C=CH, O=Adit Test, CN=gw.example.net" --san gw.example.net --san 192.0.2.1 --san carol@example.net \
		--san 2001:db8::1 --flag serverAuth --flag ikeIntermediate $when --outform pem >$kind-leaf.pem
done
pki --self --in ecdsa-leaf.key --type ecdsa --dn 'CN=pinned' --san pinned.example.net $when --outform pem >pinned.pem
pki --issue --in ecdsa-leaf.key --type priv --cacert rsa-ca.pem --cakey rsa-ca.key --digest sha1 --dn 'CN=sha1' $when --outform pem >sha1.pem
rm ecdsa-ca.key ecdsa-sub.key rsa-ca.key rsa-sub.key ed25519-ca.key ed25519-sub.key
openssl pkcs8 -topk8 -in ecdsa-leaf.key -passout pass:secret -out ecdsa-leaf.enc.key
openssl pkcs8 -topk8 -in ecdsa-leaf.key -passout pass:secret -scrypt -out ecdsa-leaf.scrypt.key
openssl pkcs8 -topk8 -nocrypt -in rsa-leaf.key -out rsa-leaf.p8.key
openssl pkcs8 -topk8 -nocrypt -in ecdsa-leaf.key -outform der -out ecdsa-leaf.p8.der
openssl rsa -in rsa-leaf.key -outform der -out rsa-leaf.p1.der 2>/dev/null
openssl ec -in ecdsa-leaf.key -outform der -out ecdsa-leaf.sec1.der 2>/dev/null
openssl rsa -in rsa-leaf.key -aes128 -passout pass:secret -traditional -out rsa-leaf.legacy.key 2>/dev/null
openssl ecparam -name secp384r1 -genkey -out ecdsa-params.key
openssl req -x509 -newkey rsa:1024 -nodes -keyout /dev/null -subj /CN=weak -days 10000 -out weak.pem 2>/dev/null
for who in v1 v1-issued; do
	openssl ecparam -name prime256v1 -genkey -noout -out $who.tmp
	openssl req -new -key $who.tmp -subj /CN=$who -out $who.csr
done
openssl x509 -req -in v1.csr -signkey v1.tmp -days 10950 -out v1.pem 2>/dev/null
openssl x509 -req -in v1-issued.csr -CA v1.pem -CAkey v1.tmp -set_serial 7 -days 10950 -out v1-issued.pem 2>/dev/null
rm *.tmp *.csr
