// The table of all models: found by role and name, by nobody else's, and never half of one and half of another.
#include "shmem/model_table.hpp"

#include <gtest/gtest.h>

#include <cstdio>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace steadytext::shmem;

Model model(ModelRole role, const std::string &name, const std::string &fingerprint) {
    Model made;
    made.role = role;
    std::snprintf(made.name, sizeof made.name, "%s", name.c_str());
    std::snprintf(made.fingerprint, sizeof made.fingerprint, "%s", fingerprint.c_str());
    return made;
}

std::string fingerprint_of(const ModelTable &table, ModelRole role, const std::string &name) {
    Model found;
    return table.find(role, name, found) ? found.fingerprint : "";
}

TEST(ModelTable, FindsEachModelByRoleAndName) {
    const auto table = std::make_unique<ModelTable>();
    std::vector<Model> models;
    for (std::size_t i = 0; i < ModelTable::kMost / 2; i++)
        for (const ModelRole role : {ModelRole::Generation, ModelRole::Embedding})
            models.push_back(
                model(role, "m" + std::to_string(i), std::to_string(static_cast<int>(role)) + ":" + std::to_string(i)));
    models[2].is_default = models[1].is_default = true;
    table->store(models, {});
    for (std::size_t i = 0; i < ModelTable::kMost / 2; i++) {
        EXPECT_EQ(fingerprint_of(*table, ModelRole::Generation, "m" + std::to_string(i)), "0:" + std::to_string(i));
        EXPECT_EQ(fingerprint_of(*table, ModelRole::Embedding, "m" + std::to_string(i)), "1:" + std::to_string(i));
    }
    EXPECT_EQ(fingerprint_of(*table, ModelRole::Reranker, "m1"), "");
    EXPECT_EQ(fingerprint_of(*table, ModelRole::Generation, "m"), "");
    EXPECT_EQ(fingerprint_of(*table, ModelRole::Generation, ""), "0:1") << "the default";
    EXPECT_EQ(fingerprint_of(*table, ModelRole::Reranker, ""), "");
    std::vector<Model> all(ModelTable::kMost);
    EXPECT_EQ(table->load(all.data()), models.size());
    EXPECT_STREQ(all.back().name, models.back().name);
}

TEST(ModelTable, KnowsTheFirstModelByWhichDocumentsAreRanked) {
    const auto table = std::make_unique<ModelTable>();
    std::vector<Model> models = {
        model(ModelRole::Generation, "g", "f:g"), model(ModelRole::Embedding, "of an engine", "f:engine"),
        model(ModelRole::Embedding, "first", "f:first"), model(ModelRole::Embedding, "second", "f:second")};
    models[1].ranks = false;
    models[1].is_default = true;
    table->store(models, {});
    Model found;
    EXPECT_TRUE(table->find_ranker(found));
    EXPECT_STREQ(found.fingerprint, "f:first");
    table->store(std::span(models).first(2), {});
    EXPECT_FALSE(table->find_ranker(found));
}

TEST(ModelTable, ForgetsWhatIsStoredNoMore) {
    const auto table = std::make_unique<ModelTable>();
    std::vector<Model> models = {model(ModelRole::Generation, "a", "f"), model(ModelRole::Generation, "", "serial:")};
    models[1].takes_any = models[0].is_default = true;
    table->store(models, {.is_whole = false, .is_awaited = true, .any = true});
    Model found;
    EXPECT_TRUE(table->find_taker(ModelRole::Generation, found));
    EXPECT_STREQ(found.fingerprint, "serial:");
    EXPECT_FALSE(table->find_taker(ModelRole::Embedding, found));
    EXPECT_FALSE(table->untold().is_whole);
    EXPECT_TRUE(table->untold().is_awaited && table->untold().any);
    table->store({}, {});
    EXPECT_FALSE(table->find(ModelRole::Generation, "a", found) || table->find(ModelRole::Generation, "", found));
    EXPECT_FALSE(table->find_taker(ModelRole::Generation, found));
    EXPECT_TRUE(table->untold().is_whole);
}

TEST(ModelTable, IsReadWholeWhileItIsWritten) {
    const auto table = std::make_unique<ModelTable>();
    std::vector<Model> versions[2];
    for (int version = 0; version < 2; version++)
        for (int i = 0; i < 50; i++)
            versions[version].push_back(
                model(ModelRole::Generation, "m" + std::to_string(version == 0 ? i : 49 - i),
                      std::string(70, static_cast<char>('a' + version)) + std::to_string(version == 0 ? i : 49 - i)));
    table->store(versions[0], {});
    std::atomic<bool> stop{false};
    std::thread writer([&] {
        for (int i = 0; i < 2'000; i++)
            table->store(versions[i % 2], {});
        stop = true;
    });
    while (!stop) {
        for (int i = 0; i < 50; i++) {
            Model found;
            if (!table->find(ModelRole::Generation, "m" + std::to_string(i), found))
                continue;  // the writer was there a thousand times
            const std::string fingerprint = found.fingerprint;
            EXPECT_EQ(fingerprint.substr(70), std::to_string(i));
            EXPECT_EQ(fingerprint.find_first_not_of(fingerprint[0]), 70U);
        }
    }
    writer.join();
}

}  // namespace
