"""Measures the Python peer and liboqs, as a process of its own.

    peers.py seal NODE.config TOPIC SIZE     the peer's serializer of values
    peers.py sign | verify                   SLH-DSA-SHAKE-128f of liboqs

Prints `ready`. Then, for each number of seconds on standard input, works for this time and prints the operations in a second.
"""

import logging
import os
import sys
import time
import warnings

warnings.simplefilter("ignore")
logging.disable(logging.WARNING)

MESSAGE = b"a certificate"


def sealing(config, topic, size):
    from kafkacrypto import KafkaConsumer, KafkaCrypto, KafkaCryptoStore, KafkaProducer

    os.chdir(os.path.dirname(os.path.abspath(config)))
    store = KafkaCryptoStore(os.path.basename(config))
    producer = KafkaProducer(**store.get_kafka_config("producer", extra="crypto"))
    consumer = KafkaConsumer(**store.get_kafka_config("consumer", extra="crypto"))
    crypto = KafkaCrypto(None, producer, consumer, store)
    serializer = crypto.getValueSerializer()
    plaintext = b"x" * int(size)
    return lambda: serializer.serialize(topic, plaintext)


def signing(verifies):
    import oqs

    signer = oqs.Signature("SPHINCS+-SHAKE-128f-simple")
    public = signer.generate_keypair()
    if not verifies:
        return lambda: signer.sign(MESSAGE)
    signature = signer.sign(MESSAGE)
    assert signer.verify(MESSAGE, signature, public)
    return lambda: signer.verify(MESSAGE, signature, public)


def rate(work, seconds):
    start = time.perf_counter()
    done, burst = 0, 1
    while True:
        for _ in range(burst):
            work()
        done += burst
        elapsed = time.perf_counter() - start
        if elapsed >= seconds:
            return done / elapsed
        burst = max(1, int(done * seconds / elapsed / 100))


what, *arguments = sys.argv[1:]
work = sealing(*arguments) if what == "seal" else signing(what == "verify")
work()
print("ready", flush=True)
for line in sys.stdin:
    print(rate(work, float(line)), flush=True)
