#!/usr/bin/env bash
# Makes the files of this directory anew: certificates and keys of each form that --tls-cert and --tls-key
# take or refuse. The keys are for tests alone, and everybody knows them.
set -euo pipefail
cd "$(dirname "$0")"
rm -f ./*.pem ./*.der ./*.p12
quiet() { "$@" 2>/dev/null; }

# A root, a CA below it, and a certificate of a server with an ECDSA key.
for name in root middle ec; do quiet openssl ecparam -genkey -name prime256v1 -noout -out "$name.sec1.pem"; done
openssl req -x509 -new -key root.sec1.pem -days 36500 -subj "/CN=root" -out root.pem
ca="basicConstraints=critical,CA:TRUE"
site="subjectAltName=DNS:localhost,DNS:site.test"
sign() { # NAME KEY SUBJECT EXTENSION CA
  openssl req -new -key "$2" -subj "/CN=$3" -out request.pem
  quiet openssl x509 -req -in request.pem -CA "$5.pem" -CAkey "$5.sec1.pem" -CAcreateserial -days 36500 \
    -extfile <(echo "$4") -out "$1.pem"
}
sign middle middle.sec1.pem middle "$ca" root
sign ec ec.sec1.pem ec "$site" middle
cp request.pem keep && rm -f ./*.srl && mv keep request.pem
cat middle.pem root.pem ec.pem >chain.pem

# The forms of one key.
openssl pkcs8 -topk8 -nocrypt -in ec.sec1.pem -out ec.pkcs8.pem
openssl pkcs8 -topk8 -passout pass:secret -in ec.sec1.pem -out ec.encrypted.pem
quiet openssl ec -in ec.sec1.pem -aes128 -passout pass:secret -out ec.encrypted-sec1.pem
{ openssl ecparam -name prime256v1; cat ec.sec1.pem; } >ec.parameters.pem
quiet openssl ec -in ec.sec1.pem -outform DER -out ec.sec1.der
openssl pkcs8 -topk8 -nocrypt -in ec.sec1.pem -outform DER -out ec.pkcs8.der
openssl x509 -in ec.pem -outform DER -out ec.der
quiet openssl ec -in ec.sec1.pem -pubout -out ec.public.pem
openssl pkcs12 -export -in ec.pem -inkey ec.sec1.pem -passout pass: -out ec.p12
openssl crl2pkcs7 -nocrl -certfile chain.pem -out chain.pkcs7.pem
cat ec.sec1.pem chain.pem >both.pem

# Other kinds of keys, each with a certificate.
quiet openssl genrsa -traditional -out rsa.pkcs1.pem 2048
openssl pkcs8 -topk8 -nocrypt -in rsa.pkcs1.pem -out rsa.pkcs8.pem
openssl genpkey -algorithm ed25519 -out ed25519.pkcs8.pem
quiet openssl ecparam -genkey -name secp384r1 -noout -out p384.sec1.pem
quiet openssl ecparam -genkey -name secp521r1 -noout -out p521.sec1.pem
quiet openssl genrsa -traditional -out rsa1024.pkcs1.pem 1024
for name in rsa.pkcs1 ed25519.pkcs8 p384.sec1 p521.sec1 rsa1024.pkcs1; do
  openssl req -x509 -new -key "$name.pem" -days 36500 -subj "/CN=localhost" -addext "$site" -out "${name%%.*}.pem"
done
# A chain with one certificate twice, and with one that is not of the chain.
cat rsa.pem ec.pem root.pem middle.pem middle.pem >chain-and-more.pem
# A certificate without names.
openssl req -x509 -new -key ec.sec1.pem -days 36500 -subj "/CN=localhost" -out nameless.pem
ssh-keygen -q -t ed25519 -N '' -f openssh && mv openssh openssh.pem && rm openssh.pub
