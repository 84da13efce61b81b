// Reads and writes trees: see json_value.hpp. Regime: pure.
#include "src/core/constraint/json_value.hpp"

#include <cstdint>
#include <map>
#include <vector>

namespace steadytext::core::constraint {

namespace {

// The reader of texts. It refuses numbers that do not fit its own type, before any callback sees their digits: hence
// the widest type.
using Reader = nlohmann::basic_json<std::map, std::vector, std::string, bool, std::int64_t, std::uint64_t, long double>;

constexpr std::int64_t kMaxDigitsOfInteger = 18;
constexpr std::int64_t kMaxInteger = 1'000'000'000'000'000'000;  // the first number with more digits

// Builds the tree from the reader's events. Of equal names the last counts.
template <class Tree>
class Builder : public nlohmann::json_sax<Reader> {
public:
    Builder(Tree &root, Work *work) : root_(root), work_(work) {}

    bool null() override { return add(nullptr) != nullptr; }
    bool boolean(bool value) override { return add(value) != nullptr; }
    bool number_integer(std::int64_t value) override {
        return value > -kMaxInteger && value < kMaxInteger ? add(value) != nullptr : add_number(std::to_string(value));
    }
    bool number_unsigned(std::uint64_t value) override {
        return value < std::uint64_t{kMaxInteger} ? add(static_cast<std::int64_t>(value)) != nullptr
                                                  : add_number(std::to_string(value));
    }
    bool number_float(long double, const std::string &text) override { return spend(text.size()) && add_number(text); }
    bool string(std::string &value) override { return spend(value.size() / 4) && add(std::move(value)) != nullptr; }
    bool binary(nlohmann::json::binary_t &) override { return false; }
    bool start_object(std::size_t) override { return open(Tree::object()); }
    bool start_array(std::size_t) override { return open(Tree::array()); }
    bool end_object() override { return close(); }
    bool end_array() override { return close(); }
    bool key(std::string &name) override {
        if (!spend(8 + name.size() / 4))
            return false;
        member_ = &(*open_.back())[name];
        return true;
    }
    bool parse_error(std::size_t, const std::string &, const nlohmann::detail::exception &) override { return false; }

private:
    bool spend(std::size_t steps) { return work_ == nullptr || work_->spend(steps); }

    // Null once the work has ended.
    Tree *add(Tree value) {
        if (!spend(4))
            return nullptr;
        Tree *place = &root_;
        if (!open_.empty() && open_.back()->is_array())
            place = &open_.back()->emplace_back();
        else if (!open_.empty())
            place = member_;
        *place = std::move(value);
        return place;
    }

    bool add_number(std::string_view text) {
        const Decimal number = decimal_of(text);
        const std::string one_text = to_json(number);
        if (number.is_integer() && number.exponent <= kMaxDigitsOfInteger)
            return add(std::int64_t{std::stoll(one_text)}) != nullptr;
        return add(Tree::binary({one_text.begin(), one_text.end()})) != nullptr;
    }

    bool open(Tree empty) {
        open_.push_back(add(std::move(empty)));
        return open_.back() != nullptr;
    }
    bool close() {
        open_.pop_back();
        return true;
    }

    Tree &root_;
    Work *work_;                // null: no charge
    std::vector<Tree *> open_;  // pointers stay valid, as an array grows only while its elements are closed
    Tree *member_ = nullptr;
};

template <class Tree>
bool read(std::string_view text, Tree &tree, Work *work) {
    Builder<Tree> builder(tree, work);
    return Reader::sax_parse(text, &builder);
}

void write(const Json &json, std::string &out) {
    if (json.is_object()) {
        out += '{';
        for (const auto &[name, member] : json.items()) {
            out.append(out.back() == '{' ? "" : ",");
            out.append(Json(name).dump(-1, ' ', false, Json::error_handler_t::replace)).append(":");
            write(member, out);
        }
        out += '}';
    } else if (json.is_array()) {
        out += '[';
        for (const Json &element : json) {
            out.append(&element == &json.front() ? "" : ",");
            write(element, out);
        }
        out += ']';
    } else if (json.is_binary()) {
        out.append(json.get_binary().begin(), json.get_binary().end());
    } else {
        out.append(json.dump(-1, ' ', false, Json::error_handler_t::replace));
    }
}

}  // namespace

bool read_json(std::string_view text, Json &json) { return read(text, json, nullptr); }
bool read_json(std::string_view text, Value &value, Work &work) { return read(text, value, &work); }

std::string write_json(const Json &json) {
    std::string text;
    write(json, text);
    return text;
}

}  // namespace steadytext::core::constraint
