// Reads names and numbers, and skips all else: see gguf_header.hpp. Regime: pure.
#include "daemon/gguf_header.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>
#include <vector>

namespace steadytext::daemon {

namespace {

constexpr std::uint64_t kMostBytes = 256 << 20;  // of metadata
constexpr std::uint64_t kMostKeys = 1 << 16;
constexpr std::uint64_t kMostTextBytes = 1 << 10;  // of a text that is kept
constexpr std::uint64_t kMostNumber = 1ULL << 32;  // whatever is counted here is less
constexpr std::uint64_t kChunk = 512;              // tokens computed at a time, as the generator does
constexpr std::uint64_t kEmbeddedAtOnce = 2'048;   // as the embedder does
constexpr std::uint64_t kRankedAtOnce = 8'192;     // as the reranker does

// The types of GGUF's values.
enum class Type : std::uint32_t { U8, I8, U16, I16, U32, I32, F32, Bool, Text, Array, U64, I64, F64 };

// 0: its size varies, or there is no such type.
std::size_t size_of(Type type) {
    constexpr std::size_t kSizes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    const auto index = static_cast<std::size_t>(type);
    return index < std::size(kSizes) ? kSizes[index] : 0;
}

bool is_whole(Type type) { return size_of(type) > 0 && type != Type::F32 && type != Type::F64; }

class Reader {
public:
    explicit Reader(const std::string &path) : descriptor_(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {
        struct stat status = {};
        if (descriptor_ < 0 || fstat(descriptor_, &status) != 0)
            reason_ = std::strerror(errno);
        else if (!S_ISREG(status.st_mode))
            reason_ = "it is no regular file";
        else
            size_ = static_cast<std::uint64_t>(status.st_size);
    }
    Reader(const Reader &) = delete;
    Reader &operator=(const Reader &) = delete;
    ~Reader() {
        if (descriptor_ >= 0)
            close(descriptor_);
    }

    [[nodiscard]] const char *reason() const { return reason_; }  // why it cannot be read; null: it can
    [[nodiscard]] std::uint64_t size() const { return size_; }

    bool skip(std::uint64_t count) {
        if (count > size_ - position_)
            return false;
        position_ += count;
        return true;
    }

    bool read(void *target, std::size_t count) {
        if (count > size_ - position_)
            return false;
        auto *to = static_cast<char *>(target);
        while (count > 0) {
            if ((position_ < start_ || position_ >= start_ + filled_) && !fill())
                return false;
            const std::size_t part = std::min(count, static_cast<std::size_t>(start_ + filled_ - position_));
            std::memcpy(to, buffer_.data() + (position_ - start_), part);
            position_ += part;
            to += part;
            count -= part;
        }
        return true;
    }

    template <typename Number>
    bool read(Number &number) {
        return read(&number, sizeof number);
    }

private:
    bool fill() {
        if (read_bytes_ > kMostBytes)
            return false;
        const ssize_t got = pread(descriptor_, buffer_.data(), buffer_.size(), static_cast<off_t>(position_));
        start_ = position_;
        filled_ = got > 0 ? static_cast<std::size_t>(got) : 0;
        read_bytes_ += buffer_.size();
        return got > 0;
    }

    int descriptor_;
    const char *reason_ = nullptr;
    std::uint64_t size_ = 0;
    std::uint64_t position_ = 0;
    std::uint64_t start_ = 0;  // of what is in the buffer
    std::size_t filled_ = 0;
    std::uint64_t read_bytes_ = 0;
    std::vector<char> buffer_ = std::vector<char>(64 << 10);
};

class Metadata {
public:
    bool read(Reader &reader) {
        char magic[4];
        std::uint32_t version = 0;
        std::uint64_t tensors = 0, keys = 0;
        if (!reader.read(magic) || std::memcmp(magic, "GGUF", sizeof magic) != 0 || !reader.read(version) ||
            version < 2 || version > 3 || !reader.read(tensors) || !reader.read(keys) || keys > kMostKeys)
            return false;
        for (std::uint64_t i = 0; i < keys; i++)
            if (!read_pair(reader))
                return false;
        return true;
    }

    // Of the model's architecture. 0: it does not say, or what cannot be.
    [[nodiscard]] std::uint64_t number(const char *name) const { return plain(architecture_ + "." + name); }
    [[nodiscard]] std::uint64_t plain(const std::string &key) const {
        const auto found = numbers_.find(key);
        return found == numbers_.end() || found->second > kMostNumber ? 0 : found->second;
    }
    [[nodiscard]] bool says(const char *name) const { return numbers_.contains(architecture_ + "." + name); }
    [[nodiscard]] bool has_architecture() const { return !architecture_.empty(); }

private:
    bool read_text(Reader &reader, std::string &text) {
        std::uint64_t length = 0;
        text.clear();
        if (!reader.read(length))
            return false;
        if (length > kMostTextBytes)
            return reader.skip(length);
        text.resize(length);
        return reader.read(text.data(), length);
    }

    bool read_number(Reader &reader, Type type, std::uint64_t &number) {
        number = 0;  // GGUF is little-endian, and so is what this runs on
        return reader.read(&number, size_of(type));
    }

    bool read_pair(Reader &reader) {
        std::string key;
        Type type = Type::U8;
        if (!read_text(reader, key) || !reader.read(type))
            return false;
        if (type == Type::Text) {
            std::string text;
            if (!read_text(reader, text))
                return false;
            if (key == "general.architecture")
                architecture_ = text;
            return true;
        }
        if (type == Type::Array)
            return read_array(reader, key);
        if (!is_whole(type))
            return size_of(type) > 0 && reader.skip(size_of(type));
        return read_number(reader, type, numbers_[key]);
    }

    // Of a list of numbers the greatest is kept, as of a model whose layers differ; of a list of texts their number.
    bool read_array(Reader &reader, const std::string &key) {
        Type type = Type::U8;
        std::uint64_t count = 0;
        if (!reader.read(type) || !reader.read(count))
            return false;
        if (type == Type::Text) {
            numbers_[key] = count;
            std::uint64_t length = 0;
            for (; count > 0; count--)
                if (!reader.read(length) || !reader.skip(length))
                    return false;
            return true;
        }
        const std::size_t size = size_of(type);
        constexpr std::uint64_t kMostLayers = 4'096;
        if (size == 0 || count > reader.size())
            return false;
        if (!is_whole(type) || count > kMostLayers)
            return reader.skip(count * size);
        std::uint64_t most = 0, number = 0;
        for (; count > 0; count--) {
            if (!read_number(reader, type, number))
                return false;
            most = std::max(most, number);
        }
        numbers_[key] = most;
        return true;
    }

    std::string architecture_;
    std::map<std::string, std::uint64_t> numbers_;
};

// As llama.cpp names the ways to pool.
constexpr std::uint64_t kPoolsNothing = 0;
constexpr std::uint64_t kPoolsRank = 4;

Role role_of(const Metadata &metadata) {
    const std::uint64_t pooling = metadata.number("pooling_type");
    if (pooling == kPoolsRank)
        return Role::Reranker;
    const bool is_causal = !metadata.says("attention.causal") || metadata.number("attention.causal") != 0;
    return is_causal && pooling == kPoolsNothing ? Role::Generation : Role::Embedding;
}

}  // namespace

bool read_gguf_header(const std::string &path, GgufHeader &header, core::Problem &problem) {
    Reader reader(path);
    if (reader.reason() != nullptr)
        return problem.set(core::sqlstate::kInvalidParameterValue, "%s", reader.reason());
    header.file_bytes = reader.size();
    Metadata metadata;
    if (!metadata.read(reader) || !metadata.has_architecture())
        return problem.set(core::sqlstate::kInvalidParameterValue, "it is no GGUF model, or its beginning is damaged");
    header.role = role_of(metadata);
    header.is_part = metadata.plain("split.count") > 1;
    header.layers = metadata.number("block_count");
    header.heads = metadata.number("attention.head_count");
    header.width = metadata.number("embedding_length");
    header.window = metadata.number("context_length");
    if (header.role != Role::Generation)
        header.window = std::min(header.window, header.role == Role::Reranker ? kRankedAtOnce : kEmbeddedAtOnce);
    header.vocabulary = metadata.plain("tokenizer.ggml.tokens");
    const std::uint64_t shared_heads =
        metadata.says("attention.head_count_kv") ? metadata.number("attention.head_count_kv") : header.heads;
    const std::uint64_t head_width = header.heads > 0 ? header.width / header.heads : 0;
    const auto width_of = [&](const char *name) { return metadata.says(name) ? metadata.number(name) : head_width; };
    constexpr std::uint64_t kF16Bytes = 2;
    const bool is_causal = !metadata.says("attention.causal") || metadata.number("attention.causal") != 0;
    if (is_causal)
        header.cache_bytes =
            std::min(kMostNumber,
                     std::min(header.layers, kMostKeys) * std::min(shared_heads, kMostKeys) * kF16Bytes *
                         std::min(width_of("attention.key_length") + width_of("attention.value_length"), kMostKeys));
    return true;
}

std::uint64_t memory_of(const GgufHeader &header, int slots, int context, int prefix_memory_mb) {
    constexpr std::uint64_t kMegabyte = 1 << 20;
    constexpr std::uint64_t kAround = 32 * kMegabyte;  // vocabulary, plans of the computation, threads
    constexpr std::uint64_t kFloatBytes = 4;
    const bool generates = header.role == Role::Generation;
    const std::uint64_t tokens =
        generates ? static_cast<std::uint64_t>(slots) * static_cast<std::uint64_t>(context) : header.window;
    const std::uint64_t at_once = generates ? kChunk : header.window;
    const std::uint64_t wide = generates ? static_cast<std::uint64_t>(context) : header.window;
    const std::uint64_t results = generates ? std::min(header.vocabulary, kMostNumber >> 8) : 0;
    const std::uint64_t computing =
        at_once * kFloatBytes *
        (results + wide * std::min(header.heads, std::uint64_t{1'024}) + 8 * std::min(header.width, kMostKeys));
    const std::uint64_t prefixes = generates ? static_cast<std::uint64_t>(prefix_memory_mb) * kMegabyte : 0;
    return header.file_bytes + tokens * header.cache_bytes + computing + prefixes + kAround;
}

}  // namespace steadytext::daemon
