#!/usr/bin/env bash
# Builds liboqs for the Python peer in a folder, and prints the value for OQS_INSTALL_PATH: liboqs.sh FOLDER
#
# The C sources of liboqs 0.13.0 come with the crate oqs-sys. Only the algorithms of KafkaCrypto are built. liboqs 0.13.0 has
# SPHINCS+ instead of SLH-DSA; they differ in the order in which the bits of FORS indices are read (FIPS 205, algorithm 4),
# which is changed here. The peer does the rest.
set -euo pipefail
script=$(sha256sum "$0" | cut -c1-16)
mkdir -p "$1"
cd "$1"
folder=$PWD
if [ "$(cat prefix/made-by 2>/dev/null)" != "$script" ]; then
    rm -rf fetch source build prefix
    mkdir -p fetch/src
    : >fetch/src/lib.rs
    printf '%s\n' '[package]' 'name = "fetch"' 'edition = "2024"' '[dependencies]' 'oqs-sys = "=0.11.0"' '[workspace]' \
        >fetch/Cargo.toml
    (cd fetch && cargo vendor --quiet vendor >/dev/null)
    mv fetch/vendor/oqs-sys/liboqs source
    rm -rf fetch
    for file in source/src/sig/sphincs/pqclean_sphincs-shake-128f-simple_*/fors.c; do
        sed -i 's/^\( *\)indices\[i\] ^= .*<< j);$/\1indices[i] = (indices[i] << 1) | ((m[offset >> 3] >> (7 - (offset \& 7))) \& 1);/' \
            "$file"
        grep -q 'indices\[i\] = (indices\[i\] << 1)' "$file"
    done
    # liboqs-python looks for this function of later versions when it is imported.
    cat >>source/src/sig/sig.c <<'C'

OQS_API bool OQS_SIG_supports_ctx_str(const char *name);
OQS_API bool OQS_SIG_supports_ctx_str(const char *name) {
	OQS_SIG *signature = OQS_SIG_new(name);
	bool supports = signature != NULL && signature->sig_with_ctx_support;
	OQS_SIG_free(signature);
	return supports;
}
C
    {
        cmake -S source -B build -DCMAKE_BUILD_TYPE=Release -DBUILD_SHARED_LIBS=ON -DOQS_BUILD_ONLY_LIB=ON \
            -DOQS_DIST_BUILD=ON -DOQS_USE_OPENSSL=OFF -DCMAKE_INSTALL_PREFIX="$folder/prefix" -DCMAKE_INSTALL_LIBDIR=lib \
            "-DOQS_MINIMAL_BUILD=KEM_ml_kem_1024;KEM_ntruprime_sntrup761;SIG_sphincs_shake_128f_simple"
        cmake --build build --parallel 2 --target install
    } >log 2>&1 || { tail -20 log >&2 && exit 1; }
    rm -rf source build
    echo "$script" >prefix/made-by
fi
echo "$folder/prefix"
