// The pass over the text: see json_shape.hpp. Regime: pure.
#include "src/core/json_shape.hpp"

#include <vector>

namespace steadytext::core {

namespace {

struct Open {
    bool is_object;
    std::uint64_t members = 0;
    std::uint64_t name_bytes = 0;
};

// The place after the string that begins at `at`, or the end of the text.
std::size_t after_string(std::string_view json, std::size_t at) {
    for (at++; (at = json.find_first_of("\"\\", at)) != std::string_view::npos && json[at] == '\\';)
        at += 2;
    return at == std::string_view::npos ? json.size() : at + 1;
}

}  // namespace

JsonShape shape_of(std::string_view json, const JsonLimits &limits) {
    constexpr std::uint64_t kBytesPerStep = 16;  // of compared names
    std::vector<Open> open;
    std::uint64_t cost = 0;
    std::size_t last_string = 0;  // length of the last string in bytes
    for (std::size_t at = 0; (at = json.find_first_of("\"{}[]:", at)) < json.size();) {
        const char c = json[at];
        if (c == '"') {
            const std::size_t end = after_string(json, at);
            last_string = end - at;
            at = end;
            continue;
        }
        if (c == '{' || c == '[') {
            if (open.size() == limits.depth)
                return JsonShape::TooDeep;
            open.push_back({c == '{'});
        } else if (c != ':') {
            if (!open.empty())
                open.pop_back();
        } else if (!open.empty() && open.back().is_object) {
            Open &object = open.back();
            object.members++;
            object.name_bytes += last_string;
            cost += object.members + object.name_bytes / kBytesPerStep;
            if (cost > limits.cost)
                return JsonShape::TooManyMembers;
        }
        at++;
    }
    return JsonShape::Good;
}

}  // namespace steadytext::core
