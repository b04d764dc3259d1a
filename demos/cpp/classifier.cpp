// Classify JPEG photographs with a file of python main.py --export openvino, without Python:
//
//     ./classifier model.xml photo.jpg...
//
// The file takes uint8 RGB images of any size and answers probabilities; class names stand in it, too. Photographs are taken as they
// are stored: their EXIF orientation is not applied. Exit code: 0 all done; 1 an image could not be read; 2 no usable model.
#include <csetjmp>
#include <cstdio>

#include <jpeglib.h>

#include <algorithm>
#include <fstream>
#include <iostream>
#include <memory>
#include <new>
#include <numeric>
#include <openvino/op/constant.hpp>
#include <openvino/openvino.hpp>
#include <optional>
#include <string>
#include <vector>

namespace {

struct Image {
    size_t height, width;
    std::vector<uint8_t> pixels;  // Planes of red, green and blue, one after the other.
};

struct ErrorManager {
    jpeg_error_mgr base;
    std::jmp_buf back;
};

void leave(j_common_ptr info) { std::longjmp(reinterpret_cast<ErrorManager*>(info->err)->back, 1); }

// Given back however reading ends.
struct Decoder {
    std::FILE* file;
    jpeg_decompress_struct info{};
    ~Decoder() {
        jpeg_destroy_decompress(&info);
        std::fclose(file);
    }
};

// The image of a JPEG file; nothing where it cannot be read. Throws std::bad_alloc where memory does not hold it.
std::optional<Image> read_jpeg(const char* path) {
    std::FILE* file = std::fopen(path, "rb");
    if (!file) return std::nullopt;
    Decoder decoder{file};
    jpeg_decompress_struct& info = decoder.info;
    ErrorManager errors;
    Image image;
    std::vector<uint8_t> row;
    info.err = jpeg_std_error(&errors.base);
    errors.base.error_exit = leave;
    if (setjmp(errors.back)) return std::nullopt;
    jpeg_create_decompress(&info);
    jpeg_stdio_src(&info, file);
    jpeg_read_header(&info, TRUE);
    info.out_color_space = JCS_RGB;
    jpeg_start_decompress(&info);
    image.height = info.output_height;
    image.width = info.output_width;
    const size_t plane = image.height * image.width;
    image.pixels.resize(3 * plane);
    row.resize(3 * image.width);
    while (info.output_scanline < info.output_height) {
        const size_t start = info.output_scanline * image.width;
        JSAMPROW rows[] = {row.data()};
        jpeg_read_scanlines(&info, rows, 1);
        for (size_t x = 0; x < image.width; ++x)
            for (size_t channel = 0; channel < 3; ++channel) image.pixels[channel * plane + start + x] = row[3 * x + channel];
    }
    jpeg_finish_decompress(&info);
    return image;
}

// A character of Unicode as UTF-8.
std::string utf8(unsigned code) {
    std::string text;
    if (code < 0x80) {
        text += char(code);
    } else if (code < 0x800) {
        text += char(0xC0 | code >> 6);
        text += char(0x80 | (code & 63));
    } else if (code < 0x10000) {
        text += char(0xE0 | code >> 12);
        text += char(0x80 | (code >> 6 & 63));
        text += char(0x80 | (code & 63));
    } else {
        text += char(0xF0 | code >> 18);
        text += char(0x80 | (code >> 12 & 63));
        text += char(0x80 | (code >> 6 & 63));
        text += char(0x80 | (code & 63));
    }
    return text;
}

// The texts of the list "classes" in the JSON that the file says of itself.
std::vector<std::string> class_names(const std::string& json) {
    std::vector<std::string> names;
    size_t at = json.find("\"classes\": [");
    if (at == std::string::npos) return names;
    at += 12;
    auto unit = [&] {
        const unsigned code = std::stoul(json.substr(at, 4), nullptr, 16);
        at += 4;
        return code;
    };
    while (at < json.size() && json[at] != ']') {
        if (json[at++] != '"') continue;
        std::string name;
        while (at < json.size() && json[at] != '"') {
            if (json[at] != '\\') {
                name += json[at++];
                continue;
            }
            const char kind = json[at + 1];
            at += 2;
            if (kind == 'u') {
                unsigned code = unit();
                // Characters beyond 16 bits come in two halves.
                if (code >= 0xD800 && code < 0xDC00 && json.compare(at, 2, "\\u") == 0) {
                    at += 2;
                    code = 0x10000 + ((code - 0xD800) << 10) + (unit() - 0xDC00);
                }
                name += utf8(code);
            } else {
                name += kind == 'n' ? '\n' : kind == 't' ? '\t' : kind == 'r' ? '\r' : kind == 'b' ? '\b' : kind == 'f' ? '\f' : kind;
            }
        }
        ++at;
        names.push_back(name);
    }
    return names;
}

// A copy of a model for one image of this size, -1: of any. With a batch of any length the runtime is slower, and answers wrongly where
// maps of a single pixel are rounded to 8 bits. Sizes of maps that follow are written down, since the runtime would lose them.
std::shared_ptr<ov::Model> for_one_image(const std::shared_ptr<ov::Model>& model, long height, long width) {
    const auto alone = model->clone();
    auto taken = alone->input().get_partial_shape();
    taken[0] = 1;
    if (taken[2].is_dynamic()) taken[2] = height;
    if (taken[3].is_dynamic()) taken[3] = width;
    alone->reshape(taken);
    for (const auto& op : alone->get_ordered_ops()) {
        if (std::string(op->get_type_name()) != "Reshape" || op->get_output_partial_shape(0).is_dynamic()) continue;
        const auto shape = op->get_output_shape(0);
        const auto sizes = ov::op::v0::Constant::create(ov::element::i64, {shape.size()}, shape);
        op->input(1).replace_source_output(sizes);
    }
    return alone;
}

}  // namespace

int main(int count, char** arguments) {
    if (count < 3) {
        std::cerr << "usage: classifier model.xml photo.jpg...\n";
        return 2;
    }
    const std::string path = arguments[1];
    const char* message = " is not a graph that python main.py --export openvino wrote, or damaged, or its .bin file is not beside it\n";
    std::string head(1024, ' ');
    std::ifstream(path, std::ios::binary).read(head.data(), head.size());
    // OpenVINO tries other kinds of files on whatever this is not, each with words of its own.
    if (head.find("<net") == std::string::npos) {
        std::cerr << path << message;
        return 2;
    }
    try {
        ov::Core core;
        auto model = core.read_model(path);
        const auto names = class_names(model->get_rt_info<std::string>("darkroom"));
        // Without f32, processors with arithmetic of 16 bits use that even for the resizing, and the answers are others.
        const auto compiled = [&](long height, long width) {
            const auto alone = for_one_image(model, height, width);
            return core.compile_model(alone, "CPU", ov::hint::inference_precision(ov::element::f32)).create_infer_request();
        };
        ov::InferRequest request;
        // Of the images so far; -1 once they differ.
        long height = 0, width = 0;
        int code = 0;
        for (int number = 2; number < count; ++number) {
            std::optional<Image> image;
            const char* reason = "not a JPEG file, or damaged";
            try {
                image = read_jpeg(arguments[number]);
            } catch (const std::bad_alloc&) {
                reason = "too large for the memory";
            }
            if (!image) {
                std::cerr << arguments[number] << ": " << reason << "\n";
                code = 1;
                continue;
            }
            const long h = image->height, w = image->width;
            if (height >= 0 && (h != height || w != width)) {
                // The size of the first image; any, from the first of another size on.
                const bool first = height == 0;
                height = first ? h : -1;
                width = first ? w : -1;
                request = compiled(height, width);
            }
            request.set_input_tensor(ov::Tensor(ov::element::u8, {1, 3, image->height, image->width}, image->pixels.data()));
            request.infer();
            const auto answer = request.get_output_tensor(0);
            if (answer.get_shape() != ov::Shape{1, names.size()}) {
                std::cerr << path << " is no classifier: it does not answer a probability for each class of an image\n";
                return 2;
            }
            const float* shares = answer.data<float>();
            std::vector<size_t> order(answer.get_size());
            std::iota(order.begin(), order.end(), 0);
            std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return shares[a] > shares[b]; });
            std::cout << arguments[number];
            for (size_t rank = 0; rank < std::min<size_t>(3, order.size()); ++rank)
                std::cout << "  " << names.at(order[rank]) << " " << 100 * shares[order[rank]] << "%";
            std::cout << std::endl;
        }
        return code;
    } catch (const std::exception&) {
        std::cerr << path << message;
        return 2;
    }
}
