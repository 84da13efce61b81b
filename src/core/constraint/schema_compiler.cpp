// Compiles a schema to the network of its documents: see schema.hpp. Regime: pure. Nested schemas are built one after
// another; recursion goes no deeper than kMaxExpansions.
#include "src/core/constraint/alternatives.hpp"
#include "src/core/constraint/code_points.hpp"
#include "src/core/constraint/schema.hpp"
#include "src/core/constraint/schema_check.hpp"
#include "src/core/constraint/schema_scalars.hpp"
#include "src/core/utf8.hpp"

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <set>

namespace steadytext::core::constraint {

namespace {

constexpr int kMaxRecursion = 16;   // how deep a definition that contains itself is followed
constexpr int kMaxExpansions = 64;  // nested references and conjunctions of a schema
constexpr int kFreeValueDepth = 6;  // for values that the schema does not restrict

class Compiler : ScalarCompiler {
public:
    Compiler(SchemaDocument &document, Network &network, Problem &problem)
        : ScalarCompiler(network, problem), document_(document) {}

    bool compile() {
        network_.add_call(network_.start(), rule_of(document_.root(), 0), network_.end());
        while (!problem_.is_set() && !unbuilt_.empty() && network_.fits()) {
            const Unbuilt next = unbuilt_.back();
            unbuilt_.pop_back();
            build(*next.schema, next.level, 0, network_.start(next.rule), network_.end(next.rule));
        }
        if (!network_.fits())
            complain(sqlstate::kProgramLimitExceeded, "It is too large.");
        return !problem_.is_set();
    }

private:
    struct Unbuilt {
        Rule rule;
        const Json *schema;
        int level;
    };

    // The rule of a schema at a depth of recursion. Its body is built later, so schemas may contain each other.
    Rule rule_of(const Json &schema, int level) {
        const auto [found, is_new] = rules_.try_emplace({&schema, level}, 0);
        if (is_new) {
            found->second = network_.add_rule();
            if (level <= kMaxRecursion && network_.fits())
                unbuilt_.push_back({found->second, &schema, level});  // deeper than that nothing matches
        }
        return found->second;
    }

    // ---- references, conjunctions, alternatives ----

    void build(const Json &schema, int level, int expansions, State from, State to) {
        if (schema.is_boolean()) {
            if (schema.get<bool>())
                network_.add_call(from, free_value(0), to);
            return;
        }
        if (!schema.is_object())
            return complain(sqlstate::kInvalidParameterValue, "A schema within it is neither an object nor a boolean.");
        if (expansions > kMaxExpansions)
            return complain(sqlstate::kInvalidParameterValue, "It refers to itself without an end.");
        if (const char *keyword = unsupported_keyword(schema)) {
            problem_.set(sqlstate::kFeatureNotSupported, "schema keyword \"%s\" is not supported", keyword);
            return;
        }
        if (schema.contains("$ref"))
            return build_reference(schema, level, expansions, from, to);
        if (schema.contains("allOf"))
            return build_conjunction(schema, level, expansions, from, to);
        for (const char *keyword : {"anyOf", "oneOf"})
            if (schema.contains(keyword))
                return build_alternatives(keyword, schema, level, expansions, from, to);
        if (schema.contains("const") || schema.contains("enum"))
            return build_listed(schema, from, to);
        build_types(schema, level, from, to);
    }

    void build_reference(const Json &schema, int level, int expansions, State from, State to) {
        const Json &reference = schema["$ref"];
        const Json *target = reference.is_string() ? document_.resolve(reference, problem_) : nullptr;
        if (target == nullptr)
            return complain(sqlstate::kInvalidParameterValue, "A \"$ref\" is not a string.");
        const int target_level = level + document_.is_recursive(*target);
        const Json &rest = document_.own(assertions_but(schema, "$ref"));
        if (rest.empty() && expansions == 0)
            return network_.add_call(from, rule_of(*target, target_level), to);
        if (rest.empty())
            return build(*target, target_level, expansions + 1, from, to);
        if (const Json *merged = document_.both(rest, *target, problem_))
            build(*merged, target_level, expansions + 1, from, to);
    }

    void build_conjunction(const Json &schema, int level, int expansions, State from, State to) {
        if (!schema["allOf"].is_array())
            return complain(sqlstate::kInvalidParameterValue, "\"allOf\" is not an array.");
        if (!document_.afford(schema))
            return;
        Json &merged = document_.own(assertions_but(schema, "allOf"));
        for (const Json &part : schema["allOf"]) {
            const Json *operand = &part;
            // References in the part are followed first, so that their schemas can be merged.
            for (int i = 0; operand->is_object() && operand->contains("$ref") && i < kMaxExpansions; i++) {
                const Json &rest = document_.own(assertions_but(*operand, "$ref"));
                const Json *target =
                    (*operand)["$ref"].is_string() ? document_.resolve((*operand)["$ref"], problem_) : nullptr;
                if (target == nullptr)
                    return complain(sqlstate::kInvalidParameterValue, "A \"$ref\" is not a string.");
                level += document_.is_recursive(*target);
                operand = rest.empty() ? target : document_.both(rest, *target, problem_);
                if (operand == nullptr)
                    return;
            }
            if (!document_.merge(merged, *operand, problem_))
                return;
        }
        build(merged, level, expansions + 1, from, to);
    }

    void build_alternatives(const char *keyword, const Json &schema, int level, int expansions, State from, State to) {
        const Json &parts = schema[keyword];
        if (!parts.is_array() || parts.empty())
            return complain(sqlstate::kInvalidParameterValue, "\"anyOf\" and \"oneOf\" are arrays with members.");
        if (std::string_view(keyword) == "oneOf" && !are_exclusive(parts))
            return complain(sqlstate::kFeatureNotSupported, "\"oneOf\" is supported where types, constants or a "
                                                            "required constant member tell the alternatives apart.");
        const Json rest = assertions_but(schema, keyword);
        for (const Json &part : parts) {
            if (!network_.fits())
                return;
            if (rest.empty() && part.is_structured()) {
                network_.add_call(from, rule_of(part, level), to);
                continue;
            }
            if (!document_.afford(rest) || !document_.afford(part))
                return;
            build(document_.own({{"allOf", Json::array({rest, part})}}), level, expansions + 1, from, to);
        }
    }

    bool are_exclusive(const Json &parts) {
        std::vector<const Json *> followed;
        for (const Json &part : parts) {
            const bool reference = part.is_object() && part.contains("$ref") && part["$ref"].is_string();
            Problem ignored;
            const Json *target = reference ? document_.resolve(part["$ref"], ignored) : nullptr;
            followed.push_back(target != nullptr ? target : &part);
        }
        return constraint::are_exclusive(followed, document_.work());
    }

    void build_listed(const Json &schema, State from, State to) {
        if (!schema.contains("const") && !schema["enum"].is_array())
            return complain(sqlstate::kInvalidParameterValue, "\"enum\" is not an array.");
        if (schema.contains("const"))
            return build_value(schema, schema["const"], from, to);
        // The values are listed, so this is not checked again.
        const Json &rest = document_.own(assertions_but(schema, "enum"));
        for (const Json &value : schema["enum"])
            build_value(rest, value, from, to);
    }

    void build_value(const Json &schema, const Json &value, State from, State to) {
        Problem ignored;
        if (network_.fits() && document_.afford(value) && checker_.satisfies(schema, Value(value), ignored))
            network_.add_empty(network_.add_literal(from, write_json(value)), to);
    }

    // ---- types ----

    void build_types(const Json &schema, int level, State from, State to) {
        std::vector<std::string> types = types_of(schema);
        if (types.empty() && !schema.contains("type"))
            types = implied_types(schema);
        if (types.empty())
            return network_.add_call(from, free_value(0), to);
        for (const std::string &type : types) {
            if (type == "object")
                build_object(schema, level, from, to);
            else if (type == "array")
                build_array(schema, level, from, to);
            else if (type == "string")
                build_string(schema, from, to);
            else if (type == "number" || type == "integer")
                build_number(schema, type == "integer", from, to);
            else if (type == "null")
                network_.add_empty(network_.add_literal(from, "null"), to);
            else
                build_boolean(from, to);
        }
    }

    // Without `type`, each keyword only restricts values of its own type; the types of the keywords are taken as the
    // allowed types.
    static std::vector<std::string> implied_types(const Json &schema) {
        const auto any = [&](std::initializer_list<const char *> keywords) {
            return std::any_of(keywords.begin(), keywords.end(),
                               [&](const char *keyword) { return schema.contains(keyword); });
        };
        std::vector<std::string> types;
        if (any({"properties", "required", "additionalProperties"}))
            types.emplace_back("object");
        if (any({"items", "prefixItems", "minItems", "maxItems"}))
            types.emplace_back("array");
        if (any({"minLength", "maxLength", "pattern", "format"}))
            types.emplace_back("string");
        if (any({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"}))
            types.emplace_back("number");
        return types;
    }

    // ---- arrays and objects ----

    // `mark`, and perhaps a blank.
    State after_mark(State from, char mark) {
        const State after = network_.add_state();
        network_.add_bytes(from, static_cast<std::uint8_t>(mark), static_cast<std::uint8_t>(mark), after);
        const State next = network_.add_state();
        network_.add_empty(after, next);
        network_.add_bytes(after, ' ', ' ', next);
        return next;
    }

    void build_array(const Json &schema, int level, State from, State to) {
        static const Json *const anything = new Json(true);
        static const Json *const none = new Json(Json::array());
        const std::int64_t least = size(schema, "minItems").value_or(0);
        const auto most = size(schema, "maxItems");
        const Json &first = schema.contains("prefixItems") ? schema["prefixItems"] : *none;
        const Json &items = schema.contains("items") ? schema["items"] : *anything;
        if (!first.is_array())
            return complain(sqlstate::kInvalidParameterValue, "\"prefixItems\" is not an array.");
        const auto item = [&](std::int64_t i) {
            const auto index = static_cast<std::size_t>(i);
            return rule_of(index < first.size() ? first[index] : items, level);
        };
        const State close = network_.add_state();
        network_.add_bytes(close, ']', ']', to);
        State at = network_.add_literal(from, "[");
        const std::int64_t counted = std::max({least, static_cast<std::int64_t>(first.size()), std::int64_t{1}});
        const std::int64_t limit = most.has_value() ? std::min(*most, std::max(counted, kMaxCounted)) : counted;
        for (std::int64_t i = 0; i < limit && network_.fits(); i++) {
            if (i >= least)
                network_.add_empty(at, close);
            const State next = network_.add_state();
            network_.add_call(i == 0 ? at : after_mark(at, ','), item(i), next);
            at = next;
        }
        if (least > limit)
            return;  // so nothing matches
        network_.add_empty(at, close);
        if (!most.has_value())
            network_.add_call(after_mark(at, ','), item(limit), at);
    }

    struct Member {
        std::string name;
        const Json *schema;
        bool required;
    };

    std::vector<Member> members_of(const Json &schema, const Json &additional) {
        static const Json *const nothing = new Json(Json::object());
        static const Json *const nobody = new Json(Json::array());
        std::vector<Member> members;
        const Json &properties = schema.contains("properties") ? schema["properties"] : *nothing;
        const Json &names = schema.contains("required") ? schema["required"] : *nobody;
        const bool good = properties.is_object() && names.is_array() &&
                          std::all_of(names.begin(), names.end(), [](const Json &name) { return name.is_string(); });
        if (!good) {
            complain(sqlstate::kInvalidParameterValue,
                     "\"properties\" is not an object or \"required\" no array of names.");
            return members;
        }
        std::set<std::string> required(names.begin(), names.end());
        for (const auto &[name, member] : properties.items())
            members.push_back({name, &member, required.erase(name) > 0});
        for (const Json &name : names)  // each once
            if (required.erase(name.get<std::string>()) > 0)
                members.push_back({name.get<std::string>(), &additional, true});
        return members;
    }

    // Members in the order of the schema, then additional members. Each place has two states: nothing was written
    // before, or something was written and a comma must come first.
    void build_object(const Json &schema, int level, State from, State to) {
        static const Json *const anything = new Json(true);
        const Json &additional = schema.contains("additionalProperties") ? schema["additionalProperties"] : *anything;
        const std::vector<Member> members = members_of(schema, additional);
        State fresh = network_.add_literal(from, "{");
        State begun = network_.add_state();
        for (const Member &member : members) {
            if (!network_.fits())
                return;
            const State next_fresh = network_.add_state();
            const State next_begun = network_.add_state();
            std::string key = Json(member.name).dump(-1, ' ', false, Json::error_handler_t::replace);
            const State name = network_.add_state();
            network_.add_empty(fresh, name);
            network_.add_empty(after_mark(begun, ','), name);
            network_.add_call(after_mark(network_.add_literal(name, key), ':'), rule_of(*member.schema, level),
                              next_begun);
            if (!member.required) {
                network_.add_empty(fresh, next_fresh);
                network_.add_empty(begun, next_begun);
            }
            fresh = next_fresh;
            begun = next_begun;
        }
        network_.add_bytes(fresh, '}', '}', to);
        network_.add_bytes(begun, '}', '}', to);
        // If the schema does not say, only declared members are meant.
        if (additional == false || (members.size() > 0 && !schema.contains("additionalProperties")))
            return;
        const State name = network_.add_state();
        network_.add_empty(fresh, name);
        network_.add_empty(after_mark(begun, ','), name);
        const State value = network_.add_state();
        add_other_names(members, name, value);
        network_.add_call(after_mark(value, ':'), rule_of(additional, level), begun);
    }

    // A quoted name that is not the name of a member, without escapes, so that it has a single spelling.
    void add_other_names(const std::vector<Member> &members, State from, State to) {
        const State close = network_.add_state();
        network_.add_bytes(close, '"', '"', to);
        const State other = network_.add_state();  // it already differs
        network_.add_empty(other, close);
        for (const auto &[first, last] : quotable().ranges())
            network_.add_code_points(other, first, last, other);
        std::vector<std::string> names;
        for (const Member &member : members)
            names.push_back(member.name);
        std::sort(names.begin(), names.end());
        names.erase(std::unique(names.begin(), names.end()), names.end());
        add_names_beside(names, network_.add_literal(from, "\""), other, close);
    }

    // Consecutive names, in their order, that begin with the same `length` bytes.
    struct Family {
        std::size_t first;
        std::size_t last;  // index after the last name
        std::size_t length;
        std::size_t known;  // length that state `from` has already read
        State from;
    };

    // Names that differ from all of `names`, which are sorted. It goes by characters, as a name is not cut inside a
    // character. It walks over a tree of common beginnings, shorter beginnings first, with its own stack, as names may
    // be long.
    void add_names_beside(const std::vector<std::string> &names, State from, State other, State close) {
        std::vector<Family> open{{0, names.size(), 0, 0, from}};
        while (!open.empty() && network_.fits()) {
            Family family = open.back();
            open.pop_back();
            if (family.length > family.known)
                family.from = network_.add_literal(
                    family.from,
                    std::string_view(names[family.first]).substr(family.known, family.length - family.known));
            add_beginning(names, family, other, close, open);
        }
    }

    void add_beginning(const std::vector<std::string> &names, const Family &family, State other, State close,
                       std::vector<Family> &open) {
        std::size_t at = family.first;
        if (at < family.last && names[at].size() == family.length)
            at++;
        else
            network_.add_empty(family.from, close);
        std::vector<CodePoints::Range> taken;
        std::vector<Family> longer;
        while (at < family.last && network_.spend(4)) {
            std::uint32_t code = 0;
            const std::size_t length = utf8_decode(names[at], family.length, code);
            const auto next =
                static_cast<std::size_t>(std::partition_point(names.begin() + static_cast<std::ptrdiff_t>(at),
                                                              names.begin() + static_cast<std::ptrdiff_t>(family.last),
                                                              [&](const std::string &name) {
                                                                  return name.compare(family.length, length, names[at],
                                                                                      family.length, length) == 0;
                                                              }) -
                                         names.begin());
            taken.emplace_back(code, code);
            if (code == 0x20 || code == 0x21 || (code >= 0x23 && code != 0x5C))  // quotable
                longer.push_back({at, next, family.length + length, family.length, family.from});
            at = next;
        }
        const CodePoints others = CodePoints(std::move(taken)).complement(quotable());
        for (const auto &[first, last] : others.ranges())
            network_.add_code_points(family.from, first, last, other);
        open.insert(open.end(), longer.rbegin(), longer.rend());
    }

    // ---- unrestricted values ----

    Rule free_value(int depth) {
        if (static_cast<std::size_t>(depth) < free_values_.size())
            return free_values_[static_cast<std::size_t>(depth)];
        const Rule rule = network_.add_rule();
        free_values_.push_back(rule);
        const State from = network_.start(rule);
        const State to = network_.end(rule);
        static const Json *const nothing = new Json(Json::object());
        build_string(*nothing, from, to);
        build_number(*nothing, false, from, to);
        build_boolean(from, to);
        network_.add_empty(network_.add_literal(from, "null"), to);
        if (depth == kFreeValueDepth)
            return rule;
        build_free_list(free_value(depth + 1), from, to);
        return rule;
    }

    void build_free_list(Rule inner, State from, State to) {
        const State array = network_.add_literal(from, "[");
        network_.add_bytes(array, ']', ']', to);
        const State items = network_.add_state();
        network_.add_call(array, inner, items);
        network_.add_bytes(items, ']', ']', to);
        network_.add_call(after_mark(items, ','), inner, items);
        const State object = network_.add_literal(from, "{");
        network_.add_bytes(object, '}', '}', to);
        const State name = network_.add_state();
        network_.add_empty(object, name);
        const State value = network_.add_state();
        add_other_names({}, name, value);
        const State members = network_.add_state();
        network_.add_call(after_mark(value, ':'), inner, members);
        network_.add_bytes(members, '}', '}', to);
        network_.add_empty(after_mark(members, ','), name);
    }

    SchemaDocument &document_;
    std::map<std::pair<const Json *, int>, Rule> rules_;
    std::vector<Unbuilt> unbuilt_;
    std::vector<Rule> free_values_;
    Checker checker_{document_};
};

}  // namespace

bool compile_schema(std::string_view schema, Network &network, Problem &problem, Work *work) {
    Work own(kMaxCompilingSteps);
    Work &at_hand = work != nullptr ? *work : own;
    network.charge_to(&at_hand);
    SchemaDocument document(at_hand);
    const bool good = document.read(schema, problem) && Compiler(document, network, problem).compile();
    if (good)
        network.finish();
    network.charge_to(nullptr);
    if (at_hand.has_ended()) {
        problem = Problem();
        return at_hand.tell(problem, "the schema");
    }
    if (!good || network.is_satisfiable())
        return good;
    problem.set(sqlstate::kInvalidParameterValue, "schema cannot be used");
    problem.with_detail("No value satisfies it.");
    return false;
}

}  // namespace steadytext::core::constraint
