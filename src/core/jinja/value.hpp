// The values of templates, in an arena of bounded size.
//
// Used by all of src/core/jinja. Regime: pure; inside this folder failures are thrown (Failure), and
// src/core/jinja/jinja.cpp turns them into a core::Problem. A Value is plain data: nothing in an arena has a
// destructor, so no structure, however deep or circular, costs stack when it goes.
#pragma once

#include "src/core/work.hpp"

#include <cstdint>
#include <memory>
#include <new>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace steadytext::core::jinja {

// Why a template is given up.
struct Failure {
    enum class Kind : std::uint8_t { Syntax, Undefined, Rendering, Unsupported, TooLarge, Stopped };
    Kind kind;
    std::string message;
    int line = 0;
};

[[noreturn]] inline void fail(std::string message) { throw Failure{Failure::Kind::Rendering, std::move(message)}; }
[[noreturn]] inline void fail_undefined(std::string_view message) {
    throw Failure{Failure::Kind::Undefined, std::string(message)};
}
// For a feature of Python's jinja2 that is missing here.
[[noreturn]] inline void unsupported(std::string what) {
    throw Failure{Failure::Kind::Unsupported, std::move(what) + " is not supported"};
}

[[noreturn]] inline void refuse_long() { unsupported("an integer beyond 64 bits"); }

// Bounds of a template: steps are Work's, bytes of values and of output are counted here, and so is the depth of
// recursion.
class Bounds {
public:
    static constexpr std::size_t kMaxMemory = 64U << 20;
    static constexpr std::size_t kMaxOutput = 16U << 20;
    static constexpr int kMaxDepth = 400;

    explicit Bounds(Work &work) : work_(work) {}

    void spend(std::uint64_t steps = 1) {
        if (!work_.spend(steps))
            throw Failure{work_.was_stopped() ? Failure::Kind::Stopped : Failure::Kind::TooLarge,
                          "the template takes too much work"};
    }
    void take_memory(std::size_t bytes) {
        memory_ += bytes;
        if (bytes > kMaxMemory || memory_ > kMaxMemory)
            throw Failure{Failure::Kind::TooLarge, "the template takes too much memory"};
        spend(1 + bytes / 64);
    }
    void take_output(std::size_t bytes) {
        output_ += bytes;
        if (bytes > kMaxOutput || output_ > kMaxOutput)
            throw Failure{Failure::Kind::TooLarge, "the template gives too much text"};
        spend(1 + bytes / 64);
    }
    void give_back_output(std::size_t bytes) { output_ -= bytes; }

    // Memory that a filter needs while it is at work: counted for as long as this lives.
    class Scratch {
    public:
        explicit Scratch(Bounds &bounds) : bounds_(bounds) {}
        ~Scratch() { bounds_.memory_ -= taken_; }
        Scratch(const Scratch &) = delete;
        Scratch &operator=(const Scratch &) = delete;
        void take(std::size_t bytes) {
            taken_ += bytes;  // also if the bound is passed: take_memory() has counted it then
            bounds_.take_memory(bytes);
        }
        // Room for another item in a vector, which may have twice the room that it needs.
        template <class Item>
        void add(std::vector<Item> &items, Item item) {
            take(2 * sizeof(Item));
            items.push_back(std::move(item));
        }

    private:
        Bounds &bounds_;
        std::size_t taken_ = 0;
    };

    // One level of recursion, for as long as it lives.
    class Level {
    public:
        explicit Level(Bounds &bounds) : bounds_(bounds) {
            if (bounds_.depth_ >= kMaxDepth)
                throw Failure{Failure::Kind::TooLarge, "the template nests or calls itself too deep"};
            bounds_.depth_++;
        }
        ~Level() { bounds_.depth_--; }
        Level(const Level &) = delete;
        Level &operator=(const Level &) = delete;

    private:
        Bounds &bounds_;
    };

private:
    Work &work_;
    std::size_t memory_ = 0;
    std::size_t output_ = 0;
    int depth_ = 0;
};

// Memory that is freed as a whole.
class Arena {
public:
    explicit Arena(Bounds &bounds) : bounds_(bounds) {}

    [[nodiscard]] void *take(std::size_t bytes) {
        bytes = (bytes + 15) / 16 * 16;
        bounds_.take_memory(bytes);
        if (bytes > left_) {
            const std::size_t size = bytes > kChunk / 4 ? bytes : kChunk;
            chunks_.push_back(std::make_unique_for_overwrite<char[]>(size));
            if (size == bytes)
                return chunks_.back().get();  // the chunk in use stays in use
            next_ = chunks_.back().get();
            left_ = size;
        }
        void *taken = next_;
        next_ += bytes;
        left_ -= bytes;
        return taken;
    }
    template <class T, class... Arguments>
    [[nodiscard]] T *make(Arguments &&...arguments) {
        static_assert(std::is_trivially_destructible_v<T> && alignof(T) <= 16);
        return new (take(sizeof(T))) T{std::forward<Arguments>(arguments)...};
    }
    template <class T>
    [[nodiscard]] T *array(std::size_t count) {
        static_assert(std::is_trivially_destructible_v<T> && alignof(T) <= 16);
        if (count > Bounds::kMaxMemory / sizeof(T))
            bounds_.take_memory(Bounds::kMaxMemory + 1);
        return static_cast<T *>(take(count * sizeof(T)));
    }
    [[nodiscard]] std::string_view copy(std::string_view text) {
        char *data = array<char>(text.size());
        text.copy(data, text.size());
        return {data, text.size()};
    }
    [[nodiscard]] Bounds &bounds() { return bounds_; }

private:
    static constexpr std::size_t kChunk = 32U << 10;

    Bounds &bounds_;
    std::vector<std::unique_ptr<char[]>> chunks_;
    char *next_ = nullptr;
    std::size_t left_ = 0;
};

enum class Kind : std::uint8_t {
    Undefined,  // the text is the message of the error that its use is
    None,
    Bool,
    Int,
    Big,  // an integer beyond 64 bits, which can be shown only; the text is its digits
    Float,
    String,
    List,
    Tuple,
    Group,      // a tuple of groupby(): (grouper, list)
    Generator,  // a list that is walked once
    Dict,
    View,  // of a dict: keys(), values(), items()
    Range,
    Loop,
    Macro,
    Method,  // of a string, a list, a dict, a loop, a cycler
    Global,  // range, dict, namespace, joiner, cycler
    Namespace,
    Joiner,
    Cycler,
};

struct List;
struct Dict;
struct View;
struct Range;
struct Loop;
struct Macro;
struct Method;
struct Cycler;

struct Value {
    Kind kind = Kind::None;
    // Of a String: it is escaped already. Of an Undefined: it may be used even in strict mode, as what an if without
    // else gives.
    bool is_markup = false;
    std::uint32_t size = 0;  // of a text
    union {
        bool truth;
        std::int64_t integer = 0;
        double real;
        const char *data;
        List *list;
        Dict *dict;
        View *view;
        Range *range;
        Loop *loop;
        Macro *macro;
        Method *method;
        Cycler *cycler;
        bool *used;  // of a Joiner
    };

    [[nodiscard]] std::string_view text() const { return {data, size}; }
    [[nodiscard]] bool is(Kind which) const { return kind == which; }
    [[nodiscard]] bool is_undefined() const { return kind == Kind::Undefined; }
    // Of an Undefined: whether it counts as empty, not as an error.
    [[nodiscard]] bool is_lax(bool strict) const { return !strict || is_markup; }
    // Python's isinstance(value, int)
    [[nodiscard]] bool is_whole() const { return kind == Kind::Int || kind == Kind::Bool; }
    [[nodiscard]] bool is_number() const { return is_whole() || kind == Kind::Float; }
    [[nodiscard]] bool is_tuple() const { return kind == Kind::Tuple || kind == Kind::Group; }
    [[nodiscard]] bool is_list_like() const { return kind >= Kind::List && kind <= Kind::Group; }
    [[nodiscard]] std::int64_t whole() const { return kind == Kind::Bool ? truth : integer; }
    [[nodiscard]] double number() const { return kind == Kind::Float ? real : static_cast<double>(whole()); }
};
static_assert(sizeof(Value) == 16 && std::is_trivially_copyable_v<Value>);

[[nodiscard]] inline Value none() { return {}; }
[[nodiscard]] inline Value truth(bool value) {
    Value made;
    made.kind = Kind::Bool;
    made.integer = 0;
    made.truth = value;
    return made;
}
[[nodiscard]] inline Value whole(std::int64_t value) {
    Value made;
    made.kind = Kind::Int;
    made.integer = value;
    return made;
}
[[nodiscard]] inline Value real(double value) {
    Value made;
    made.kind = Kind::Float;
    made.real = value;
    return made;
}
// `text` lives in the arena, in the template, or in the program.
[[nodiscard]] inline Value string(std::string_view text) {
    Value made;
    made.kind = Kind::String;
    made.size = static_cast<std::uint32_t>(text.size());
    made.data = text.data();
    return made;
}
[[nodiscard]] inline Value markup(std::string_view text) {
    Value made = string(text);
    made.is_markup = true;
    return made;
}
[[nodiscard]] inline Value undefined(std::string_view message) {
    Value made = string(message);
    made.kind = Kind::Undefined;
    return made;
}

struct List {
    Value *items;
    std::uint32_t count;
    std::uint32_t room;
    std::uint32_t next;  // of a Generator: the first item not walked yet

    void add(Arena &arena, const Value &value) {
        if (count == room) {
            const std::uint32_t more = room < 4 ? 4 : room * 2;
            Value *grown = arena.array<Value>(more);
            for (std::uint32_t i = 0; i < count; i++)
                grown[i] = items[i];
            items = grown;
            room = more;
        }
        items[count++] = value;
    }
};

// In the order in which keys came. Keys are texts, numbers, booleans and none; equal numbers are the same key.
struct Dict {
    Value *keys;
    Value *values;
    std::uint32_t *index;  // open addressing, 0: free, else the place + 1
    std::uint32_t count;
    std::uint32_t room;
    std::uint32_t index_size;
    bool is_namespace;

    [[nodiscard]] const Value *find(Bounds &bounds, const Value &key) const;
    void set(Arena &arena, const Value &key, const Value &value);
    // False if there is no such key.
    bool remove(Arena &arena, const Value &key);
};

struct View {
    enum class Of : std::uint8_t { Keys, Values, Items } of;
    Dict *dict;
};

struct Range {
    std::int64_t start, stop, step;

    [[nodiscard]] std::uint64_t count() const {
        if (step > 0 ? start >= stop : start <= stop)
            return 0;
        const std::uint64_t distance = step > 0 ? static_cast<std::uint64_t>(stop) - static_cast<std::uint64_t>(start)
                                                : static_cast<std::uint64_t>(start) - static_cast<std::uint64_t>(stop);
        const std::uint64_t stride = step > 0 ? static_cast<std::uint64_t>(step) : 0 - static_cast<std::uint64_t>(step);
        return (distance - 1) / stride + 1;
    }
    [[nodiscard]] std::int64_t at(std::uint64_t i) const {
        return static_cast<std::int64_t>(static_cast<std::uint64_t>(start) + i * static_cast<std::uint64_t>(step));
    }
};

struct Method {
    Value of;
    std::string_view name;
};

// The loop of a {% for %} that is being walked; afterwards `walk` is null.
struct Loop {
    void *walk;
    Value (*get)(void *walk, Value loop, std::string_view name);
};

struct Cycler {
    List *items;
    std::uint32_t at;
};

[[nodiscard]] inline Value value_of(Kind kind, List *list) {
    Value made;
    made.kind = kind;
    made.list = list;
    return made;
}
[[nodiscard]] inline List *new_list(Arena &arena) { return arena.make<List>(); }
[[nodiscard]] inline Dict *new_dict(Arena &arena) { return arena.make<Dict>(); }
[[nodiscard]] inline Value value_of(Dict *dict) {
    Value made;
    made.kind = dict->is_namespace ? Kind::Namespace : Kind::Dict;
    made.dict = dict;
    return made;
}
[[nodiscard]] inline Value method_of(Arena &arena, const Value &of, std::string_view name) {
    Value made;
    made.kind = Kind::Method;
    made.method = arena.make<Method>(of, name);
    return made;
}

}  // namespace steadytext::core::jinja
