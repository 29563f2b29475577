# Signs a UEFI program for Secure Boot: IMAGE KEY CERTIFICATE OUT. The time of signing is written as
# 1970: nobody attests it, and the same input gives the same bytes.
osslsigncode sign -time 0 -h sha256 -key "$2" -certs "$3" -in "$1" -out "$4" >log 2>&1 || { cat log >&2; exit 1; }
