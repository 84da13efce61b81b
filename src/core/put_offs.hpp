// When an engine asks a role to come again later: until when, by role, and by kind of requests and model (named
// `model` here).
//
// Kept by bgworker/daemon.*. Regime: pure; one thread. A put-off counts only while the epoch under which it was made is
// the current one: steadytext_daemon_reset() begins a new epoch, and what was put off before is over at once.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>

namespace steadytext::core {

class PutOffs {
public:
    using Role = std::uint32_t;
    static constexpr Role kEverybody = 0;  // no role's number
    static constexpr std::size_t kMaxModels = 64;
    static constexpr std::size_t kMaxOfEverybody = 1024;

    // Callers may name any number of models that an engine does not list. Beyond kMaxModels, the role is put off for
    // all models. Everybody never is: beyond kMaxOfEverybody, the model whose time ends first is forgotten.
    void put_off(Role role, std::string_view model, std::int64_t until_us, std::uint32_t epoch) {
        Models &models = roles_[role];
        if (role == kEverybody) {
            if (models.size() >= kMaxOfEverybody && !models.contains(model))
                models.erase(std::ranges::min_element(models, {}, [](const auto &known) { return known.second.us; }));
            models.insert_or_assign(std::string(model), Until{until_us, epoch});
            return;
        }
        models.insert_or_assign(std::string(models.size() < kMaxModels || models.contains(model) ? model : kAnyModel),
                                Until{until_us, epoch});
    }

    // 0: the role is not put off. Everybody's put-offs do not count: ask for kEverybody.
    [[nodiscard]] std::int64_t until_us(Role role, std::string_view model, std::uint32_t epoch) const {
        std::int64_t until_us = 0;
        if (const auto models = roles_.find(role); models != roles_.end())
            for (const std::string_view name : {model, kAnyModel})
                if (const auto found = models->second.find(name);
                    found != models->second.end() && found->second.epoch == epoch)
                    until_us = std::max(until_us, found->second.us);
        return until_us;
    }

    void forget_past(std::int64_t now_us, std::uint32_t epoch) {
        for (auto &[role, models] : roles_)
            std::erase_if(models,
                          [&](const auto &model) { return model.second.us <= now_us || model.second.epoch != epoch; });
        std::erase_if(roles_, [](const auto &role) { return role.second.empty(); });
    }

    [[nodiscard]] bool empty() const { return roles_.empty(); }

private:
    static constexpr std::string_view kAnyModel = "";
    struct Until {
        std::int64_t us;
        std::uint32_t epoch;
    };
    using Models = std::map<std::string, Until, std::less<>>;

    std::map<Role, Models> roles_;
};

}  // namespace steadytext::core
