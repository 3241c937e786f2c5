/* A PKCS#11 module that forwards every call to the module named by KC_HSM_TEST_REAL_MODULE, and fails on request.
 *
 * Each line of the file `fault` in the folder KC_HSM_TEST_FOLDER is a request: "FUNCTION SKIP TIMES CODE". After SKIP calls of
 * FUNCTION (a position in CK_FUNCTION_LIST; -1 is any of those below) the next TIMES calls return CODE; HANG does not return
 * for as long as a line says so. Without the file nothing fails, and the counters restart. The length of the file `logins`
 * counts the logins. With the file `last-try` the token reports that one more wrong PIN of the user or the security officer
 * locks it; with the file `count-low` that it has refused one.
 */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef unsigned long word;
typedef word (*call)(word, word, word, word, word);

struct function_list {
    unsigned char version[2];
    call functions[68];
};

enum { GET_SLOT_LIST = 4, GET_TOKEN_INFO = 6, OPEN_SESSION = 12, LOGIN = 18, CREATE_OBJECT = 20, DESTROY_OBJECT = 22,
       GET_ATTRIBUTE_VALUE = 24, SET_ATTRIBUTE_VALUE = 25, FIND_OBJECTS_INIT = 26, FIND_OBJECTS = 27, ENCRYPT_INIT = 29,
       ENCRYPT = 30, DECRYPT_INIT = 33, DECRYPT = 34, SIGN_INIT = 42, SIGN = 43, GENERATE_KEY = 58, GENERATE_KEY_PAIR = 59 };

#define HANG 0xffffffffUL

static struct function_list *real, wrapped;

static FILE *open_file(const char *name, const char *mode)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", getenv("KC_HSM_TEST_FOLDER"), name);
    return fopen(path, mode);
}

static int is_there(const char *name)
{
    FILE *file = open_file(name, "r");
    if (file)
        fclose(file);
    return file != 0;
}

enum { LINES = 4 };

static long calls[LINES];

struct line {
    int function;
    long skip, times;
    word code;
};

/* Returns the number of lines. */
static int read_lines(struct line *lines)
{
    FILE *file = open_file("fault", "r");
    int read = 0;
    if (!file)
        return 0;
    while (read < LINES && fscanf(file, "%d %ld %ld %lu", &lines[read].function, &lines[read].skip, &lines[read].times,
                                  &lines[read].code) == 4)
        read++;
    fclose(file);
    return read;
}

static int is_of(const struct line *line, int function)
{
    return line->function == -1 || line->function == function;
}

static int hangs(int function)
{
    struct line lines[LINES];
    int count = read_lines(lines);
    for (int i = 0; i < count; i++)
        if (is_of(&lines[i], function) && lines[i].code == HANG)
            return 1;
    return 0;
}

static word fault(int function)
{
    struct line lines[LINES];
    int count = read_lines(lines);
    if (!count)
        memset(calls, 0, sizeof calls);
    for (int i = 0; i < count; i++) {
        if (!is_of(&lines[i], function))
            continue;
        calls[i]++;
        if (calls[i] <= lines[i].skip || calls[i] > lines[i].skip + lines[i].times)
            continue;
        if (lines[i].code != HANG)
            return lines[i].code;
        while (hangs(function))
            usleep(10000);
        return 0;
    }
    return 0;
}

#define WRAP(name, place)                                          \
    static word name(word a, word b, word c, word d, word e)       \
    {                                                              \
        word code = fault(place);                                  \
        return code ? code : real->functions[place](a, b, c, d, e); \
    }

WRAP(get_slot_list, GET_SLOT_LIST)
WRAP(open_session, OPEN_SESSION)
WRAP(create_object, CREATE_OBJECT)
WRAP(destroy_object, DESTROY_OBJECT)
WRAP(get_attribute_value, GET_ATTRIBUTE_VALUE)
WRAP(set_attribute_value, SET_ATTRIBUTE_VALUE)
WRAP(find_objects_init, FIND_OBJECTS_INIT)
WRAP(find_objects, FIND_OBJECTS)
WRAP(encrypt_init, ENCRYPT_INIT)
WRAP(encrypt, ENCRYPT)
WRAP(decrypt_init, DECRYPT_INIT)
WRAP(decrypt, DECRYPT)
WRAP(sign_init, SIGN_INIT)
WRAP(sign, SIGN)
WRAP(generate_key, GENERATE_KEY)

static word generate_key_pair(word a, word b, word c, word d, word e, word f, word g, word h)
{
    typedef word (*long_call)(word, word, word, word, word, word, word, word);
    word code = fault(GENERATE_KEY_PAIR);
    return code ? code : ((long_call)real->functions[GENERATE_KEY_PAIR])(a, b, c, d, e, f, g, h);
}

static word get_token_info(word slot, word info, word c, word d, word e)
{
    enum { FLAGS_OFFSET = 96, CKF_USER_PIN_COUNT_LOW = 0x10000, CKF_USER_PIN_FINAL_TRY = 0x20000, CKF_SO_PIN_FINAL_TRY = 0x200000 };
    word code = real->functions[GET_TOKEN_INFO](slot, info, c, d, e), flags;
    if (code)
        return code;
    memcpy(&flags, (char *)info + FLAGS_OFFSET, sizeof flags);
    if (is_there("last-try"))
        flags |= CKF_USER_PIN_FINAL_TRY | CKF_SO_PIN_FINAL_TRY;
    if (is_there("count-low"))
        flags |= CKF_USER_PIN_COUNT_LOW;
    memcpy((char *)info + FLAGS_OFFSET, &flags, sizeof flags);
    return 0;
}

static word login(word a, word b, word c, word d, word e)
{
    FILE *file = open_file("logins", "a");
    if (file) {
        fputc('x', file);
        fclose(file);
    }
    word code = fault(LOGIN);
    return code ? code : real->functions[LOGIN](a, b, c, d, e);
}

word C_GetFunctionList(struct function_list **list)
{
    void *module = dlopen(getenv("KC_HSM_TEST_REAL_MODULE"), RTLD_NOW);
    word (*get)(struct function_list **) = module ? dlsym(module, "C_GetFunctionList") : 0;
    if (!get || get(&real))
        return 5; /* CKR_GENERAL_ERROR */
    wrapped = *real;
    wrapped.functions[GET_SLOT_LIST] = get_slot_list;
    wrapped.functions[GET_TOKEN_INFO] = get_token_info;
    wrapped.functions[OPEN_SESSION] = open_session;
    wrapped.functions[LOGIN] = login;
    wrapped.functions[CREATE_OBJECT] = create_object;
    wrapped.functions[DESTROY_OBJECT] = destroy_object;
    wrapped.functions[GET_ATTRIBUTE_VALUE] = get_attribute_value;
    wrapped.functions[SET_ATTRIBUTE_VALUE] = set_attribute_value;
    wrapped.functions[FIND_OBJECTS_INIT] = find_objects_init;
    wrapped.functions[FIND_OBJECTS] = find_objects;
    wrapped.functions[ENCRYPT_INIT] = encrypt_init;
    wrapped.functions[ENCRYPT] = encrypt;
    wrapped.functions[DECRYPT_INIT] = decrypt_init;
    wrapped.functions[DECRYPT] = decrypt;
    wrapped.functions[SIGN_INIT] = sign_init;
    wrapped.functions[SIGN] = sign;
    wrapped.functions[GENERATE_KEY] = generate_key;
    wrapped.functions[GENERATE_KEY_PAIR] = (call)generate_key_pair;
    *list = &wrapped;
    return 0;
}
