// Counting, step by step: see token_count.hpp. Nothing is cached: a count takes no longer than a look into the table.
// Regime: pg, with C++ only inside guarded().
#include "src/pg/compat.hpp"
#include "src/session/token_count.hpp"
#include "src/core/json_text.hpp"
#include "src/core/operator_rules.hpp"
#include "src/core/reply.hpp"
#include "src/pg/written.hpp"
#include "src/pg/text.hpp"
#include "src/session/arguments.hpp"
#include "src/session/audit.hpp"
#include "src/session/on_failure.hpp"
#include "src/session/models.hpp"
#include "src/session/observe.hpp"
#include "src/session/running_call.hpp"

namespace steadytext::session {

namespace {

// True if there are daemons, and each of them has told that it is of a kind that cannot count.
bool nobody_counts() {
    const shmem::DaemonTable &daemons = *shmem::segment().daemons;
    bool has_any = false;
    for (const shmem::DaemonRow &row : daemons.rows) {
        shmem::DaemonIdentity identity;
        if (row.state.load() == shmem::DaemonState::Absent || !row.identity.load(identity))
            continue;
        if (identity.counts_tokens || identity.kind == shmem::DaemonKind::Unknown)
            return false;
        has_any = true;
    }
    return has_any;
}

std::string_view wire_params(std::string_view text, std::string_view model) {
    return pg::written_json(core::Escape::Utf8, [&](core::JsonObject &json) {
        json.add("text", text);
        json.add_or_null("model", model);
    });
}

class CountCall final : public ModelCall {
public:
    CountCall(std::string_view input, std::string_view model) : text_(input), name_(model), role_(role_of(model)) {
        observe::begin(shmem::CallKind::Embed);  // as which it counts: it costs a daemon no more
        observe::prompt(text_);
        use_cache = false;
        query = new_query(shmem::ValueKind::Text);
        choose();
    }

    [[nodiscard]] bool accept_cached(const CachedAnswer &) override { return false; }
    [[nodiscard]] SlotRequest prepare() override {
        replace_if_gone(role_, chosen_, name_);
        return {shmem::Operation::CountTokens, pg::copy_text(wire_params(text_, chosen_.asked)), chosen_.asked};
    }
    [[nodiscard]] bool choose_again() override {
        const std::string_view before = pg::copy_text(chosen_.asked);
        choose();
        replace_if_gone(role_, chosen_, name_);
        return chosen_.asked != before;
    }
    [[nodiscard]] CallResult accept(const Answer &answer, CachedAnswer &) override {
        const auto read = [&](core::Problem &p) {
            if (!core::read_count_reply(answer.body, tokens_, p))
                return false;
            // A token has a byte at least.
            return static_cast<std::size_t>(tokens_) <= text_.size() + 1 ||
                   p.set(core::sqlstate::kProtocolViolation, "the daemon counts more tokens than the text has bytes");
        };
        if (!note_reading(answer, pg::try_guarded(problem, read), problem))
            return CallResult::Failed;
        is_counted_ = true;
        return CallResult::Unshared;
    }
    void finish() override {
        const bool is_known_to_fail =
            problem.is_set() && problem.sqlstate == std::string_view(core::sqlstate::kUndefinedObject);
        if (has_failed(result) && !is_known_to_fail)
            (void)apply_on_failure(problem);
        took_us = observe::end();
    }
    [[nodiscard]] bool bytes(std::string_view &) const override { return false; }
    [[nodiscard]] std::optional<std::int32_t> tokens() const {
        return is_counted_ ? std::optional(tokens_) : std::nullopt;
    }

private:
    void choose() {
        chosen_ = choose_model(role_, name_);
        spending = {shmem::CallKind::Embed, chosen_.is_known ? std::string_view(chosen_.model.name) : name_, 1, 0};
        observe::model(chosen_.model.name);
    }

    std::string_view text_;
    std::string_view name_;
    shmem::ModelRole role_;
    ChosenModel chosen_;
    std::int32_t tokens_ = 0;
    bool is_counted_ = false;
};

}  // namespace

std::optional<std::int32_t> count_tokens(const core::TextArgument &text, const core::TextArgument &model) {
    (void)shmem::segment();  // first of all: is the library preloaded?
    inspect_prompt(rules::kCountedText.name, text);
    inspect_name("model", model, rules::kModel.most);
    require(rules::kCountedText, text);
    const std::string_view name = model.or_else("");
    check_model(role_of(name), model, false);
    if (text.text.empty())
        return 0;
    if (nobody_counts())
        return std::nullopt;
    CountCall call(normalized(text.text, "the text"), name);
    run(call);
    call.finish();
    return call.tokens();
}

}  // namespace steadytext::session
