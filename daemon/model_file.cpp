// Checking and hashing a model's file: see model_file.hpp. Regime: pure.
#include "daemon/model_file.hpp"

#include <openssl/evp.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string_view>
#include <vector>

#include "daemon/llama_model.hpp"

namespace steadytext::daemon {

namespace {

using File = std::unique_ptr<std::FILE, int (*)(std::FILE *)>;

File open_model(const std::string &path, core::Problem &problem) {
    File file(std::fopen(path.c_str(), "rbe"), std::fclose);
    if (file == nullptr)
        problem.set(core::sqlstate::kInvalidParameterValue, "could not open model \"%s\": %s", path.c_str(),
                    std::strerror(errno));
    return file;
}

class Sha256 {
public:
    Sha256() : context_(EVP_MD_CTX_new(), EVP_MD_CTX_free) { EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr); }

    void update(std::string_view bytes) { EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()); }

    std::string hex() {
        unsigned char digest[32];
        EVP_DigestFinal_ex(context_.get(), digest, nullptr);
        std::string text;
        for (const unsigned char byte : digest) {
            constexpr char kDigits[] = "0123456789abcdef";
            text += kDigits[byte >> 4];
            text += kDigits[byte & 15];
        }
        return text;
    }

private:
    std::unique_ptr<EVP_MD_CTX, void (*)(EVP_MD_CTX *)> context_;
};

}  // namespace

bool check_model_file(const std::string &path, core::Problem &problem) {
    constexpr std::string_view kMagic = "GGUF";
    const File file = open_model(path, problem);
    if (file == nullptr)
        return false;
    char start[kMagic.size()] = {};
    if (std::fread(start, 1, sizeof start, file.get()) != sizeof start ||
        std::string_view(start, sizeof start) != kMagic)
        return problem.set(core::sqlstate::kInvalidParameterValue, "\"%s\" is not a GGUF model", path.c_str());
    return true;
}

std::string model_name_of(const std::string &path) {
    const std::filesystem::path file(path);
    return file.extension() == ".gguf" ? file.stem().string() : file.filename().string();
}

bool digest_of(const std::string &path, const std::atomic<bool> &stopping, std::string &weights,
               core::Problem &problem) {
    const File file = open_model(path, problem);
    if (file == nullptr)
        return false;
    Sha256 sha;
    std::vector<char> block(1 << 20);
    for (std::size_t count = 0; (count = std::fread(block.data(), 1, block.size(), file.get())) > 0;) {
        if (stopping.load(std::memory_order_relaxed))
            return problem.set(core::sqlstate::kQueryCanceled, "stopped");
        sha.update({block.data(), count});
    }
    if (std::ferror(file.get()) != 0)
        return problem.set(core::sqlstate::kInvalidParameterValue, "could not read model \"%s\": %s", path.c_str(),
                           std::strerror(errno));
    weights = sha.hex();
    return true;
}

std::string fingerprint_of(const std::string &weights, const std::string &settings) {
    Sha256 all;
    all.update(weights + "\n" STEADYTEXT_ENGINE_BUILD "\n" + settings + device_settings());
    return all.hex();
}

bool fingerprint_of(const ModelFile &file, const std::string &settings, const std::atomic<bool> &stopping,
                    std::string &fingerprint, core::Problem &problem) {
    fingerprint = file.fingerprint;
    std::string weights;
    if (!fingerprint.empty())
        return true;
    if (!digest_of(file.path, stopping, weights, problem))
        return false;
    fingerprint = fingerprint_of(weights, settings);
    return true;
}

}  // namespace steadytext::daemon
