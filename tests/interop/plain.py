"""A plain round trip of confluent-kafka through a broker: plain.py HOST:PORT COUNT."""

import sys

from confluent_kafka import Consumer, Producer


def main(servers, count):
    producer = Producer({"bootstrap.servers": servers})
    sent = [b"plain message %d" % i for i in range(count)]
    for value in sent:
        producer.produce("plain", value)
    assert producer.flush(30) == 0, "not all messages were acknowledged"
    consumer = Consumer(
        {"bootstrap.servers": servers, "group.id": "plain", "auto.offset.reset": "earliest"}
    )
    consumer.subscribe(["plain"])
    read = []
    while len(read) < count:
        message = consumer.poll(30)
        assert message is not None, "only %d of %d messages came" % (len(read), count)
        assert message.error() is None, message.error()
        read.append(message.value())
    consumer.close()
    assert read == sent, "the messages differ"
    print("%d plain messages" % count)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
