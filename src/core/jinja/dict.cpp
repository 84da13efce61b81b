// Dicts of templates: see value.hpp. A small dict is searched, a large dict has an index.
#include "src/core/jinja/value.hpp"

#include <algorithm>
#include <cstring>
#include <functional>

namespace steadytext::core::jinja {

namespace {

std::uint64_t hash_of(const Value &key) {
    if (key.is(Kind::String))
        return std::hash<std::string_view>()(key.text());
    if (key.is_whole())
        return std::hash<double>()(static_cast<double>(key.whole()));
    if (key.is(Kind::Float))
        return std::hash<double>()(key.real);
    return 0;
}

bool same_key(const Value &a, const Value &b) {
    if (a.is_number() && b.is_number())
        return a.is(Kind::Float) || b.is(Kind::Float) ? a.number() == b.number() : a.whole() == b.whole();
    return a.kind == b.kind && (a.is(Kind::None) || (a.is(Kind::String) && a.text() == b.text()));
}

// Steps that hashing or comparing it takes.
std::uint64_t cost_of(const Value &key) { return 1 + (key.is(Kind::String) ? key.size / 64 : 0); }

std::size_t place_of(Bounds &bounds, const Dict &dict, const Value &key) {
    if (dict.index_size == 0) {
        bounds.spend(dict.count / 4 + cost_of(key) * (1 + dict.count / 8));
        for (std::uint32_t i = 0; i < dict.count; i++)
            if (same_key(dict.keys[i], key))
                return i;
        return dict.count;
    }
    bounds.spend(cost_of(key));
    for (std::size_t at = hash_of(key) & (dict.index_size - 1);; at = (at + 1) & (dict.index_size - 1)) {
        bounds.spend(cost_of(key));
        if (dict.index[at] == 0)
            return dict.count;
        if (same_key(dict.keys[dict.index[at] - 1], key))
            return dict.index[at] - 1;
    }
}

void enter(Dict &dict, std::uint32_t place) {
    std::size_t at = hash_of(dict.keys[place]) & (dict.index_size - 1);
    while (dict.index[at] != 0)
        at = (at + 1) & (dict.index_size - 1);
    dict.index[at] = place + 1;
}

void make_index(Arena &arena, Dict &dict) {
    dict.index_size = 16;
    while (dict.index_size < dict.room * 2)
        dict.index_size *= 2;
    dict.index = arena.array<std::uint32_t>(dict.index_size);
    std::memset(dict.index, 0, dict.index_size * sizeof(std::uint32_t));
    for (std::uint32_t i = 0; i < dict.count; i++) {
        arena.bounds().spend(cost_of(dict.keys[i]));
        enter(dict, i);
    }
}

}  // namespace

const Value *Dict::find(Bounds &bounds, const Value &key) const {
    const std::size_t place = place_of(bounds, *this, key);
    return place < count ? &values[place] : nullptr;
}

void Dict::set(Arena &arena, const Value &key, const Value &value) {
    const std::size_t place = place_of(arena.bounds(), *this, key);
    if (place < count) {
        values[place] = value;
        return;
    }
    if (count == room) {
        const std::uint32_t more = room < 4 ? 4 : room * 2;
        Value *new_keys = arena.array<Value>(more), *new_values = arena.array<Value>(more);
        std::copy_n(keys, count, new_keys);
        std::copy_n(values, count, new_values);
        keys = new_keys;
        values = new_values;
        room = more;
        if (room > 8)
            make_index(arena, *this);
    }
    keys[count] = key;
    values[count] = value;
    count++;
    if (index_size > 0)
        enter(*this, count - 1);
}

bool Dict::remove(Arena &arena, const Value &key) {
    const std::size_t place = place_of(arena.bounds(), *this, key);
    if (place >= count)
        return false;
    arena.bounds().spend(count);
    std::copy(keys + place + 1, keys + count, keys + place);
    std::copy(values + place + 1, values + count, values + place);
    count--;
    if (index_size > 0)
        make_index(arena, *this);
    return true;
}

}  // namespace steadytext::core::jinja
