// A key file is read only if it is what it seems, and no message ever shows what is in it.
#include "src/core/key_file.hpp"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <string>
#include <sys/stat.h>
#include <unistd.h>

namespace {

using namespace steadytext::core;

class KeyFileTest : public ::testing::Test {
protected:
    KeyFileTest() {
        char name[] = "/tmp/key-file-test-XXXXXX";
        folder_ = mkdtemp(name);
    }
    ~KeyFileTest() override { [[maybe_unused]] const int done = std::system(("rm -rf " + folder_).c_str()); }

    std::string file(const std::string &text, mode_t mode) {
        const std::string path = folder_ + "/key";
        std::ofstream(path) << text;
        chmod(path.c_str(), mode);
        return path;
    }
    bool read(const std::string &path, KeyKind kind = KeyKind::Secret) {
        return read_key_file(path.c_str(), kind, key, problem);
    }

    std::string folder_;
    std::string key;
    Problem problem;
};

TEST_F(KeyFileTest, ReadsWithoutWhiteSpaceAround) {
    ASSERT_TRUE(read(file("\n  a key \n\n", 0600)));
    EXPECT_EQ(key, "a key");
    EXPECT_FALSE(problem.is_set());
}

TEST_F(KeyFileTest, RefusesASecretThatOthersCanRead) {
    EXPECT_FALSE(read(file("secret words", 0640)));
    EXPECT_STREQ(problem.detail, "It can be read by others.");
    EXPECT_EQ(std::string(problem.message).find("secret words"), std::string::npos);
    EXPECT_TRUE(read(file("public words", 0644), KeyKind::Public));
}

TEST_F(KeyFileTest, RefusesAFileThatOthersCanWrite) {
    EXPECT_FALSE(read(file("public", 0666), KeyKind::Public));
    EXPECT_STREQ(problem.detail, "It can be written by others.");
}

TEST_F(KeyFileTest, FollowsNoLinkAndReadsNoDirectory) {
    const std::string link = folder_ + "/link";
    ASSERT_EQ(symlink(file("x", 0600).c_str(), link.c_str()), 0);
    EXPECT_FALSE(read(link));
    EXPECT_STREQ(problem.detail, "It is a symbolic link.");
    EXPECT_FALSE(read(folder_));
    EXPECT_FALSE(read(folder_ + "/absent"));
    EXPECT_STREQ(problem.detail, "No such file or directory.");
}

TEST_F(KeyFileTest, RefusesMoreThanOneLine) {
    EXPECT_FALSE(read(file("key\r\nHost: elsewhere\n", 0600)));
    EXPECT_STREQ(problem.detail, "It must hold one line of ASCII characters.");
}

TEST_F(KeyFileTest, RefusesTheEmptyAndTheHuge) {
    EXPECT_FALSE(read(file(" \n", 0600)));
    EXPECT_FALSE(read(file(std::string(9000, 'x'), 0600)));
}

}  // namespace
