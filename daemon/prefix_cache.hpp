// Computed prefixes of prompts: what llama.cpp's cache holds after a prefix, as bytes, within a bound of memory.
//
// Owned by the generator's thread. Regime: pure.
//
// An entry is found by its scope and its tokens, compared in full. Whoever asks within one scope finds nothing of
// another, so the speed of an answer tells a role nothing of what another role asked. The entry that was used longest
// ago goes first.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace steadytext::daemon {

class PrefixCache {
public:
    using Bytes = std::vector<std::uint8_t>;

    explicit PrefixCache(std::size_t most_bytes) noexcept : most_(most_bytes) {}
    PrefixCache(const PrefixCache &) = delete;
    PrefixCache &operator=(const PrefixCache &) = delete;

    // The length of the scope stands first: no scope and tokens together look like another scope and other tokens.
    template <typename Token>
    [[nodiscard]] static std::string key(std::string_view scope, const Token *tokens, std::size_t count) {
        std::string key = std::to_string(scope.size()) + ":" + std::string(scope);
        return key.append(reinterpret_cast<const char *>(tokens), count * sizeof *tokens);
    }

    // Null if it is not there; valid until the next call of keep().
    [[nodiscard]] const Bytes *find(const std::string &key) {
        const auto found = by_key_.find(key);
        if (found == by_key_.end())
            return nullptr;
        entries_.splice(entries_.begin(), entries_, found->second);
        return &found->second->bytes;
    }

    [[nodiscard]] bool has_room_for(std::size_t bytes) const noexcept { return bytes + kOverhead <= most_; }

    // Makes room, and keeps it; does nothing if it is there or is larger than all the room.
    void keep(const std::string &key, Bytes bytes) {
        const std::size_t size = key.size() + bytes.size() + kOverhead;
        if (size > most_ || by_key_.contains(key))
            return;
        while (used_ + size > most_)
            drop_last();
        entries_.push_front({key, std::move(bytes)});
        by_key_.emplace(entries_.front().key, entries_.begin());
        used_ += size;
    }

    [[nodiscard]] std::size_t size() const noexcept { return entries_.size(); }
    [[nodiscard]] std::size_t used() const noexcept { return used_; }

private:
    static constexpr std::size_t kOverhead = 256;  // of an entry, about

    struct Entry {
        std::string key;
        Bytes bytes;
    };

    void drop_last() {
        const Entry &last = entries_.back();
        used_ -= last.key.size() + last.bytes.size() + kOverhead;
        by_key_.erase(last.key);
        entries_.pop_back();
    }

    std::size_t most_;
    std::size_t used_ = 0;
    std::list<Entry> entries_;  // the latest first
    std::unordered_map<std::string_view, std::list<Entry>::iterator> by_key_;
};

}  // namespace steadytext::daemon
