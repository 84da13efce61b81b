// The models that daemons serve, or served before all daemons went down: the names a call can use, and the fingerprint
// for its key.
//
// The gateway is the only writer; every call reads. So a call looks a model up by hash, in place, and nobody keeps a
// copy. Part of the daemon table.
//
// The table has room for kMost models and leaves out the rest. So there are two kinds of names that it does not have:
// names that no daemon serves, and, while `is_whole` is false, names that only the gateway or the engine itself can
// judge.
//
// Regime: pure. A sequence lock around rows that are sequence locks themselves (seqlock.hpp explains the ordering): a
// reader loads everything with acquire, the writer stores everything with release, and a reader repeats a torn read.
#pragma once

#include "shmem/seqlock.hpp"
#include "shmem/slot_table.hpp"

#include <span>
#include <string_view>

namespace steadytext::shmem {

inline constexpr std::size_t kFingerprintBytes = 80;

enum class ModelRole : std::uint8_t { Generation, Embedding, Reranker };
inline constexpr std::size_t kModelRoleCount = 3;

struct Model {
    ModelRole role = ModelRole::Generation;
    bool is_default = false;  // a call without a model name gets it
    bool served = false;      // some daemon that answers has it loaded
    // a daemon of the settings reported it, whether or not that daemon answers now; else it is only remembered
    bool is_listed = false;
    bool takes_any = false;  // its daemon never reports its models: it accepts any name
    bool ranks = true;       // if it embeds: its daemon ranks documents too, which engines over HTTP do not
    std::int32_t dimensions = 0;
    char name[kModelNameBytes] = "";
    char fingerprint[kFingerprintBytes] = "";
};

// What the daemons have not reported.
struct ModelsUntold {
    bool is_whole = true;  // the daemons have no more models than the table
    // a daemon of the settings will report its models soon, or is the only daemon that could have the model
    bool is_awaited = false;
    bool any = false;  // a daemon of the settings has not reported its models, for example because it is down
};

class ModelTable {
public:
    static constexpr std::size_t kMost = 4096;

    // Gateway. No two models have the same role and name; models that find no room are left out.
    void store(std::span<const Model> models, ModelsUntold untold) noexcept {
        models = models.first(std::min(models.size(), kMost));
        const std::uint64_t sequence = sequence_.load(std::memory_order_relaxed);
        sequence_.store(sequence + 1, std::memory_order_relaxed);
        for (std::atomic<std::uint16_t> &place : places_)
            place.store(0, std::memory_order_release);
        for (std::size_t role = 0; role < kModelRoleCount; role++) {
            defaults_[role].store(0, std::memory_order_release);
            takers_[role].store(0, std::memory_order_release);
        }
        ranker_.store(0, std::memory_order_release);
        for (std::size_t i = 0; i < models.size(); i++)
            put(models[i], static_cast<std::uint16_t>(i));
        count_.store(static_cast<std::uint32_t>(models.size()), std::memory_order_release);
        is_whole_.store(untold.is_whole, std::memory_order_release);
        is_awaited_.store(untold.is_awaited, std::memory_order_release);
        any_untold_.store(untold.any, std::memory_order_release);
        sequence_.store(sequence + 2, std::memory_order_release);  // pairs with the first load in consistently()
    }

    // The model with this name, or the role's default for an empty name. False if there is none.
    [[nodiscard]] bool find(ModelRole role, std::string_view name, Model &model) const noexcept {
        return consistently([&](bool &found) { return look_up(role, name, model, found); });
    }
    // The model that takes any name.
    [[nodiscard]] bool find_taker(ModelRole role, Model &model) const noexcept {
        return consistently([&](bool &found) {
            return load_row(takers_[index_of(role)].load(std::memory_order_acquire), model, found);
        });
    }
    // The first embedding model by which documents are ranked.
    [[nodiscard]] bool find_ranker(Model &model) const noexcept {
        return consistently(
            [&](bool &found) { return load_row(ranker_.load(std::memory_order_acquire), model, found); });
    }
    [[nodiscard]] ModelsUntold untold() const noexcept {
        return {is_whole_.load(std::memory_order_acquire), is_awaited_.load(std::memory_order_acquire),
                any_untold_.load(std::memory_order_acquire)};
    }
    // Loads all models, in order, and returns how many. `models` has room for kMost.
    [[nodiscard]] std::uint32_t load(Model *models) const noexcept {
        std::uint32_t count = 0;
        const bool good = consistently([&](bool &found) {
            count = std::min<std::uint32_t>(count_.load(std::memory_order_acquire), kMost);
            found = true;
            for (std::uint32_t i = 0; i < count; i++)
                if (!rows_[i].try_load(models[i]))
                    return false;
            return true;
        });
        return good ? count : 0;
    }

private:
    static constexpr std::size_t kPlaces = 2 * kMost;

    static constexpr std::size_t index_of(ModelRole role) noexcept { return static_cast<std::size_t>(role); }
    static constexpr std::size_t place_of(ModelRole role, std::string_view name) noexcept {
        std::uint64_t hash = 0xcbf29ce484222325 ^ static_cast<std::uint64_t>(role);  // FNV-1a
        for (const char c : name)
            hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
        return (hash ^ hash >> 32) % kPlaces;
    }

    void put(const Model &model, std::uint16_t row) noexcept {
        rows_[row].store(model);
        const auto marked = static_cast<std::uint16_t>(row + 1);
        const std::size_t role = index_of(model.role);
        if (model.is_default)
            defaults_[role].store(marked, std::memory_order_release);
        if (model.takes_any && takers_[role].load(std::memory_order_relaxed) == 0)
            takers_[role].store(marked, std::memory_order_release);
        if (model.role == ModelRole::Embedding && model.ranks && ranker_.load(std::memory_order_relaxed) == 0)
            ranker_.store(marked, std::memory_order_release);
        std::size_t place = place_of(model.role, model.name);
        while (places_[place].load(std::memory_order_relaxed) != 0)
            place = (place + 1) % kPlaces;
        places_[place].store(marked, std::memory_order_release);
    }

    // Repeats `read` until no store came between. Bounded, since the writer may have been stopped within a store.
    template <class Read>
    [[nodiscard]] bool consistently(Read &&read) const noexcept {
        for (int attempt = 0; attempt < 1000; attempt++) {
            const std::uint64_t before = sequence_.load(std::memory_order_acquire);
            bool found = false;
            if ((before & 1) == 0 && read(found) && sequence_.load(std::memory_order_relaxed) == before)
                return found;
        }
        return false;
    }
    // False if the row was torn. `marked` is the row's number plus 1; 0: there is none.
    [[nodiscard]] bool load_row(std::uint16_t marked, Model &model, bool &found) const noexcept {
        found = marked != 0 && marked <= kMost;
        return !found || rows_[marked - 1].try_load(model);
    }
    [[nodiscard]] bool look_up(ModelRole role, std::string_view name, Model &model, bool &found) const noexcept {
        if (name.empty())
            return load_row(defaults_[index_of(role)].load(std::memory_order_acquire), model, found);
        std::size_t place = place_of(role, name);
        for (std::size_t i = 0; i < kPlaces; i++, place = (place + 1) % kPlaces) {
            if (!load_row(places_[place].load(std::memory_order_acquire), model, found))
                return false;
            if (!found || (model.role == role && name == model.name))
                return true;
        }
        found = false;
        return true;
    }

    std::atomic<std::uint64_t> sequence_{0};
    std::atomic<std::uint32_t> count_{0};
    std::atomic<bool> is_whole_{true};
    std::atomic<bool> is_awaited_{false};
    std::atomic<bool> any_untold_{false};
    std::atomic<std::uint16_t> defaults_[kModelRoleCount]{};  // a row's number and 1; 0: none
    std::atomic<std::uint16_t> takers_[kModelRoleCount]{};
    std::atomic<std::uint16_t> ranker_{0};
    std::atomic<std::uint16_t> places_[kPlaces]{};
    SeqLock<Model> rows_[kMost]{};
};

}  // namespace steadytext::shmem
