#!/usr/bin/env python3
"""Makes a small cross-encoder of the demo's embedding model, for t/313_rerankers.pl.

    make_cross_encoder.py EMBEDDER.gguf OUTPUT.gguf

The file then says to pool a rank, and has what a rank is made by: a row of weights that the first token's vector is multiplied with. The
weights are made up, so what it ranks first means nothing; what counts is that a daemon computes it as llama.cpp does.
"""
import random
import struct
import sys

STRING, ARRAY, ALIGNMENT, F32, POOL_RANK = 8, 9, 32, 0, 4
SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}


class Reader:
    """Positions in a GGUF file's header."""

    def __init__(self, data):
        self.data = data
        self.at = 0

    def number(self, form):
        value = struct.unpack_from("<" + form, self.data, self.at)[0]
        self.at += struct.calcsize(form)
        return value

    def text(self):
        length = self.number("Q")
        self.at += length
        return self.data[self.at - length:self.at].decode()

    def skip_value(self, kind):
        if kind == STRING:
            self.text()
        elif kind == ARRAY:
            element = self.number("I")
            for _ in range(self.number("Q")):
                self.skip_value(element)
        else:
            self.at += SIZES[kind]


def padded(data):
    return data + bytes(-len(data) % ALIGNMENT)


def main(source, target):
    data = bytearray(open(source, "rb").read())
    reader = Reader(data)
    magic, version = reader.number("I"), reader.number("I")
    tensors, settings = reader.number("Q"), reader.number("Q")
    width = None
    for _ in range(settings):
        name, kind = reader.text(), reader.number("I")
        if name == "bert.pooling_type":
            struct.pack_into("<I", data, reader.at, POOL_RANK)
        if name == "bert.embedding_length":
            width = struct.unpack_from("<I", data, reader.at)[0]
        reader.skip_value(kind)
    for _ in range(tensors):
        reader.text()
        dimensions = reader.number("I")
        reader.at += 8 * dimensions + 4 + 8  # and type, and offset
    end_of_header = reader.at
    body = padded(bytes(data[end_of_header + -end_of_header % ALIGNMENT:]))

    chance = random.Random(1)
    weights = struct.pack(f"<{width}f", *(chance.gauss(0, 0.5) for _ in range(width)))
    name = b"cls.output.weight"
    entry = struct.pack("<Q", len(name)) + name + struct.pack("<IQQIQ", 2, width, 1, F32, len(body))
    header = struct.pack("<IIQQ", magic, version, tensors + 1, settings) + bytes(data[24:end_of_header]) + entry
    with open(target, "wb") as out:
        out.write(padded(header) + body + padded(weights))


main(*sys.argv[1:])
