"""Converts all-MiniLM-L6-v2 (Hugging Face layout: safetensors, vocab.txt, JSON) to GGUF for llama.cpp.

    convert_minilm.py MODEL_DIRECTORY OUTPUT.gguf

Called by scripts/models with the PyPI package gguf on the path. Weights stay 32-bit floats, as published; the same
input gives the same bytes, so that the digest of the result can be pinned. For WordPiece, llama.cpp wants continuation
pieces without their `##` and pieces that begin a word with U+2581 before them.
"""

import json
import pathlib
import sys

import gguf
import numpy

SPECIAL = {"unk": "[UNK]", "sep": "[SEP]", "pad": "[PAD]", "cls": "[CLS]", "mask": "[MASK]"}
IGNORED = ("embeddings.position_ids", "pooler.")  # the sentence vector is the mean of the tokens, not the pooler's


def read_safetensors(path):
    """Yields (name, array) of a safetensors file: a length, a JSON header, the tensors."""
    data = path.read_bytes()
    header_size = int.from_bytes(data[:8], "little")
    body = memoryview(data)[8 + header_size:]
    for name, entry in json.loads(data[8:8 + header_size]).items():
        if name == "__metadata__":
            continue
        if entry["dtype"] not in ("F32", "I64"):
            sys.exit(f"{path}: {name} has type {entry['dtype']}")
        begin, end = entry["data_offsets"]
        dtype = {"F32": "<f4", "I64": "<i8"}[entry["dtype"]]
        yield name, numpy.frombuffer(body[begin:end], dtype).reshape(entry["shape"])


def add_parameters(writer, config):
    writer.add_name("all-MiniLM-L6-v2")
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_layer_norm_eps(config["layer_norm_eps"])
    writer.add_causal_attention(False)
    writer.add_pooling_type(gguf.PoolingType.MEAN)


def phantom_space(piece):
    if piece in SPECIAL.values():
        return piece
    return piece[2:] if piece.startswith("##") else "\u2581" + piece


def add_vocabulary(writer, config, pieces):
    writer.add_tokenizer_model("bert")
    writer.add_tokenizer_pre("bert-bge")  # the uncased BERT vocabulary
    writer.add_token_type_count(config["type_vocab_size"])
    writer.add_token_list([phantom_space(piece) for piece in pieces])
    control, normal = gguf.TokenType.CONTROL, gguf.TokenType.NORMAL
    writer.add_token_types([control if piece in SPECIAL.values() else normal for piece in pieces])
    ids = {role: pieces.index(piece) for role, piece in SPECIAL.items()}
    writer.add_unk_token_id(ids["unk"])
    writer.add_sep_token_id(ids["sep"])
    writer.add_pad_token_id(ids["pad"])
    writer.add_mask_token_id(ids["mask"])
    writer.add_bos_token_id(ids["cls"])
    writer.add_eos_token_id(ids["sep"])


def add_tensors(writer, config, tensors):
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.BERT, config["num_hidden_layers"])
    for name, array in tensors:
        if name.startswith(IGNORED):
            continue
        mapped = names.get_name(name, try_suffixes=(".weight", ".bias"))
        if mapped is None:
            sys.exit(f"no place in a GGUF for tensor {name}")
        writer.add_tensor(mapped, array)


def main():
    model, output = map(pathlib.Path, sys.argv[1:])
    config = json.loads((model / "config.json").read_text())
    pieces = (model / "vocab.txt").read_text(encoding="utf-8").rstrip("\n").split("\n")
    writer = gguf.GGUFWriter(output, "bert")
    add_parameters(writer, config)
    add_vocabulary(writer, config, pieces)
    add_tensors(writer, config, read_safetensors(model / "model.safetensors"))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file(progress=True)
    writer.close()


main()
