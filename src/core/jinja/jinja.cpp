// See jinja.hpp: the face of this folder, where its failures become problems.
#include "src/core/jinja/jinja.hpp"

#include "src/core/jinja/evaluator.hpp"
#include "src/core/jinja/filters.hpp"
#include "src/core/jinja/names.hpp"
#include "src/core/jinja/syntax.hpp"
#include "src/core/utf8.hpp"

namespace steadytext::core::jinja {

namespace {

// A failure's words may be cut, but no character.
bool tell(const Failure &failure, const char *prefix, Problem &problem) {
    const char *state = sqlstate::kInvalidParameterValue;
    switch (failure.kind) {
    case Failure::Kind::Syntax:
        state = "42601";
        break;
    case Failure::Kind::Unsupported:
        state = sqlstate::kFeatureNotSupported;
        break;
    case Failure::Kind::TooLarge:
        state = sqlstate::kProgramLimitExceeded;
        break;
    case Failure::Kind::Stopped:
        state = sqlstate::kQueryCanceled;
        break;
    default:
        break;
    }
    constexpr std::size_t kRoom = sizeof problem.message - 40;
    const std::string_view shown = utf8_prefix(failure.message, kRoom);
    problem.set(state, "%s: %.*s%s", prefix, static_cast<int>(shown.size()), shown.data(),
                shown.size() < failure.message.size() ? "..." : "");
    if (failure.line > 0)
        problem.with_detail("Line %d of the template.", failure.line);
    return false;
}

// A single kind of line ends, and none at the end: so Jinja2 reads a template.
std::string plain_lines(std::string_view source, Bounds &bounds) {
    bounds.spend(1 + source.size() / 16);
    std::string out;
    out.reserve(source.size());
    for (std::size_t i = 0; i < source.size(); i++) {
        if (source[i] == '\r') {
            out += '\n';
            if (i + 1 < source.size() && source[i + 1] == '\n')
                i++;
        } else {
            out += source[i];
        }
    }
    if (out.ends_with('\n'))
        out.pop_back();
    return out;
}

bool tell_missing(const std::set<std::string> &names, const Value &variables, Bounds &bounds, Problem &problem) {
    std::string missing;
    for (const std::string &name : names)
        if (variables.dict->find(bounds, string(name)) == nullptr)
            missing += (missing.empty() ? "" : ", ") + name;
    if (missing.empty())
        return true;
    const std::string_view shown = utf8_prefix(missing, sizeof problem.message - 40);
    return problem.set(sqlstate::kInvalidParameterValue, "Missing required variables: %.*s%s",
                       static_cast<int>(shown.size()), shown.data(), shown.size() < missing.size() ? "..." : "");
}

}  // namespace

bool check(std::string_view source, Work &work, std::vector<std::string> &names, Problem &problem) {
    Bounds bounds(work);
    Arena arena(bounds);
    try {
        const std::string plain = plain_lines(source, bounds);
        const NameTable found = names_of(parse(plain, arena), bounds);
        names.assign(found.undeclared.begin(), found.undeclared.end());
        return true;
    } catch (const Failure &failure) {
        return tell(failure, "Invalid Jinja2 template", problem);
    }
}

bool render(std::string_view source, std::string_view variables, bool strict, Work &work, std::string &out,
            Problem &problem) {
    Bounds bounds(work);
    Arena arena(bounds);
    Machine machine{arena, bounds, strict};
    const char *prefix = "Invalid Jinja2 template";
    try {
        const std::string plain = plain_lines(source, bounds);
        const Nodes nodes = parse(plain, arena);
        prefix = "Template rendering error";
        Value given = from_json(variables, machine);
        if (!given.is(Kind::Dict))
            given = value_of(new_dict(arena));
        const NameTable names = names_of(nodes, bounds);
        if (strict && !tell_missing(names.undeclared, given, bounds, problem))
            return false;
        out = evaluate(nodes, names, machine, given);
        return true;
    } catch (const Failure &failure) {
        return tell(failure, failure.kind == Failure::Kind::Undefined ? "Undefined variable in template" : prefix,
                    problem);
    }
}

}  // namespace steadytext::core::jinja
