# Templates: what they give is what Python's jinja2 gives, or an error that says what is not supported; hostile ones end within statement_timeout
# and harm nothing.
use strict;
use warnings;
use IPC::Run ();
use SteadyText::Cluster;
use Test::More;

# ---- as Python's ----------------------------------------------------------------------------------------------------------
# The distribution's jinja2 (python3-jinja2); FUZZ_SEED chooses other templates.
my $made = $ENV{STEADYTEXT_LONG_TESTS} ? 5000 : 1000;
my $said = '';
IPC::Run::run([ '/usr/bin/python3', 't/tools/jinja_cases.py', 't/data/templates.txt', $made, $ENV{FUZZ_SEED} // 1, 'build/jinja' ], '>', \$said) or die "no verdict: $said";
my ($compared, $renderings, $gave, $unsupported, $differ) = $said =~ /^(\d+) templates compared.* of (\d+) renderings (\d+) gave text, (\d+) were not supported, (\d+) differ$/m;
cmp_ok($compared, '>=', 1000, "$compared templates are compared");
is($differ, 0, 'none gives another text, or a text where Python has an error, or other names') or diag $said;
cmp_ok($gave, '>', $renderings / 3, "$gave of $renderings renderings give text");
cmp_ok($unsupported, '<', $renderings / 8, "and $unsupported are not supported");

# ---- hostile ---------------------------------------------------------------------------------------------------------------
my $cluster = SteadyText::Cluster->new(daemon => 'none');
my $n = 1_000_000_000;
my @hostile = (
    # loops without an end, of every kind of iterable
    (map { "{% for i in $_ %}{% endfor %}" } "range($n)", "range(10**9)", "range(0, $n, 1)", "range($n)|list", "range($n)|reverse", "range($n)|batch(2)", "range($n)|map('string')",
        "range($n)|select('odd')", "range($n)|groupby('x')", "range($n)|unique", "range($n)|sort", "range(9223372036854775807)", "range(-$n, $n)"),
    (map { "{% for a in range($n) %}{% for b in range($n) %}$_\{% endfor %}{% endfor %}" } '', 'x', '{{ a }}', '{% set c = a %}', '{{ loop.length }}', '{% if a == b %}{% endif %}'),
    "{% for i in range($n) %}{{ loop.length }}{{ loop.revindex }}{{ loop.last }}{% endfor %}", "{% for i in range($n) if i < 0 %}x{% endfor %}", "{% for i in range($n) if false %}{% else %}y{% endfor %}",
    "{% set l = [1] %}{% for i in l %}{% set _ = l.append(i) %}{% endfor %}", "{% set d = {} %}{% for i in range($n) %}{% set _ = d.update({i: i}) %}{% endfor %}",
    "{% set l = [] %}{% for i in range($n) %}{% set _ = l.append(l) %}{% endfor %}", "{% set ns = namespace(s='x') %}{% for i in range($n) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}",
    "{% set ns = namespace(s=[1]) %}{% for i in range($n) %}{% set ns.s = ns.s + ns.s %}{% endfor %}", "{% set c = cycler(1, 2) %}{% for i in range($n) %}{{ c.next() }}{% endfor %}",
    "{% set l = range(1000)|list %}{% for i in range($n) %}{% set _ = l.insert(0, i) %}{% set _ = l.pop() %}{% endfor %}",
    # memory, by one operation
    (map { "{{ $_ }}" } "'x' * $n", "'x' * 10**18", "$n * 'xyz'", "[0] * $n", "(1, 2) * 10**17", "('x' * 10**6) * 10**6", "'%${n}d' % 1", "'%.${n}f' % 1.5", "'%9999s' % 'x' * 99999", "'x'|center($n)", "'x'.ljust($n)",
        "'x'.rjust($n, 'é')", "'1'.zfill($n)", "'x'|indent($n)", "('x\\n' * 10**6)|indent('y' * 10**5)", "('a' * 10**6)|replace('a', 'b' * 10**6)", "('a' * 10**6).replace('', 'b' * 10**6)",
        "(range(10**6)|list)|join('x' * 10**6)", "('x' * 10**6).join(range(10**6)|map('string')|list)", "('a ' * 10**6)|wordwrap(1)", "('a' * 10**7)|wordwrap(1)", "('<' * 10**7)|e|e|e", "('<' * 10**7)|forceescape|forceescape",
        "range(10**6)|list|tojson(100)", "[[0] * 1000] * 100000", "([[0] * 1000] * 100000)|string", "([[0] * 1000] * 100000)|tojson", "range(10**7)|batch(1)|list", "1|string|batch($n, 'x')|list", "'ab'|slice($n)|list", "('x' * 10**7)|list",
        "('ß' * 10**7)|upper|upper", "('a,' * 10**7).split(',')", "2 ** 64", "10 ** 10 ** 10", "9 ** 9 ** 9 ** 9", "2 ** 9223372036854775807", "1.5 ** 1e300", "-9223372036854775807 - 1 - 1", "(-9223372036854775807 - 1) // -1", "(-9223372036854775807 - 1) % -1",
        "(-9223372036854775807 - 1)|abs", "range(-9223372036854775807, 9223372036854775807)|length", "'x'[::-9223372036854775807]", "'x'[-9223372036854775807:9223372036854775807]", "[1, 2][::9223372036854775807]", "(range(10**6)|list)|sort(attribute='x')",
        "['nan'|float, 1, 2]|sort", "(['nan'|float] * 1000)|sort", "(['nan'|float] * 1000)|unique|list|length", "(['nan'|float] * 1000)|groupby('x')", "('a' * 10**6) in ('a' * 10**6 ~ 'b') * 10", "(('a' * 10**5 ~ 'b') * 100).count('a' * 10**5 ~ 'c')"),
    # depth
    '{{ ' . '(' x 100_000 . '1' . ')' x 100_000 . ' }}', '{{ ' . '[' x 100_000 . ']' x 100_000 . ' }}', '{{ ' . '{1:' x 50_000 . '1' . '}' x 50_000 . ' }}', '{{ ' . '-' x 100_000 . '1 }}', '{{ ' . 'not ' x 100_000 . '1 }}',
    '{{ ' . '1+' x 100_000 . '1 }}', '{{ ' . "1~" x 100_000 . '1 }}', '{{ ' . '1 if ' x 50_000 . '1 }}', '{{ x' . '.a' x 100_000 . ' }}', '{{ x' . '|e' x 100_000 . ' }}', '{{ x' . '()' x 100_000 . ' }}', '{{ x' . '[0]' x 100_000 . ' }}',
    '{{ 1' . ' is odd' x 50_000 . ' }}', '{{ 1' . ' == 1' x 100_000 . ' }}', '{{ 1' . ' or 0' x 100_000 . ' }}', '{{ 1' . ' and 1' x 100_000 . ' }}', '{{ 1' . ' ** 1' x 100_000 . ' }}', "{{ 'a' " . "'b'" x 100_000 . ' }}',
    '{% if 1 %}' x 50_000, '{% if 1 %}' x 5000 . '{% endif %}' x 5000, '{% for i in [1] %}' x 20_000 . '{% endfor %}' x 20_000, '{% for i in [1, 2] %}' x 100 . 'x' . '{% endfor %}' x 100, '{% filter upper %}' x 5000 . '{% endfilter %}' x 5000, '{% set x %}' x 5000 . '{% endset %}' x 5000,
    '{% macro m() %}' x 5000 . '{% endmacro %}' x 5000, '{% call m() %}' x 5000 . '{% endcall %}' x 5000, '{% with a = 1 %}' x 5000 . '{% endwith %}' x 5000, '{% if a %}{% set b = 1 %}{% endif %}' x 20_000, join('', map { "{% if a$_ %}{% set b$_ = 1 %}{% endif %}" } 1 .. 5000),
    '{% if 1 %}' . join('', map { "{% elif a$_ %}{% set b$_ = 1 %}" } 1 .. 10_000) . '{% endif %}', '{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}', '{% macro a() %}{{ b() }}{% endmacro %}{% macro b() %}{{ a() }}{% endmacro %}{{ a() }}',
    '{% macro m(n) %}{{ m(n + 1) }}{{ m(n + 1) }}{% endmacro %}{{ m(0) }}', '{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(60) }}', '{% macro m() %}{% call m() %}{{ caller() }}{% endcall %}{% endmacro %}{{ m() }}', '{% macro m(a=m()) %}{% endmacro %}{{ m() }}',
    '{% for x in [[]] recursive %}{{ loop([[]]) }}{% endfor %}', '{% for x in [1, 2] recursive %}{{ loop([1, 2]) }}{% endfor %}', '{% set l = [] %}{% set _ = l.append(l) %}{{ l }}', '{% set l = [] %}{% set _ = l.append(l) %}{{ l|tojson }}', '{% set l = [] %}{% set m = [] %}{% set _ = l.append(m) %}{% set _ = m.append(l) %}{{ l == m }}',
    '{% set l = [] %}{% set m = [] %}{% set _ = l.append(m) %}{% set _ = m.append(l) %}{{ l < m }}', '{% set d = {} %}{% set _ = d.update({1: d}) %}{{ d }}{{ d|tojson }}{{ d|string }}', '{% set l = [1] %}{% set _ = l.extend(l) %}{{ l }}', '{% set d = {1: 2} %}{% set _ = d.update(d) %}{{ d }}',
    "{% set ns = namespace(l=[]) %}{% for i in range(100000) %}{% set ns.l = [ns.l] %}{% endfor %}{{ ns.l }}", "{% set ns = namespace(l=[]) %}{% for i in range(100000) %}{% set ns.l = [ns.l] %}{% endfor %}{{ ns.l == [ns.l] }}", "{% set ns = namespace() %}{% set ns.n = ns %}{{ ns }}", '{% for x in [1] %}{% set l = loop %}{{ l }}{% endfor %}{{ l }}',
    "{% set ns = namespace() %}{% for x in [1] %}{% set ns.l = loop %}{% endfor %}{{ ns.l.index }}{{ ns.l.cycle(1) }}", "{% set ns = namespace() %}{% for x in [1] %}{% set ns.c = loop.cycle %}{% endfor %}{{ ns.c(1) }}", "{% set ns = namespace() %}{% for x in [[1]] recursive %}{% set ns.l = loop %}{% endfor %}{{ ns.l([1]) }}",
    # a walk to the host
    (map { "{{ $_ }}" } "''.__class__", "''.__class__.__mro__[1].__subclasses__()", "[].__class__.__base__", "{}.__init__.__globals__", "self.__init__", "self._TemplateReference__context", "cycler.__init__.__globals__.os.popen('id').read()", "joiner.__init__.__globals__", "namespace.__init__.__globals__", "lipsum.__globals__['os']",
        "lipsum()", "range.__class__", "dict.__subclasses__()", "''|attr('__class__')", "''['__class__']", "['__class__']|map('attr', '__class__')|list", "[''] | map(attribute='__class__') | list", "''.format.__globals__", "'{0.__class__}'.format('')", "'{0.__class__}'.format_map({'0': ''})", "'%(__class__)s' % {}", "loop.__class__", "x.__class__",
        "url_for.__globals__", "get_flashed_messages.__globals__", "config", "request.application.__globals__", "''|map('__class__')|list", "1|select('__import__')|list", "''.__add__('x')", "cycler(1).__class__", "joiner().__dict__", "namespace(a=1).__dict__", "caller.__class__", "varargs", "''.join.__self__", "_", "__builtins__", "__import__('os')", "eval('1')", "exec('1')", "open('/etc/passwd')"),
    '{% include "/etc/passwd" %}', '{% extends "/etc/passwd" %}', '{% import "os" as os %}', '{% from "os" import system %}', '{% set ns = namespace() %}{% set ns.__class__ = 1 %}{{ ns.__class__ }}', '{% macro m() %}{% endmacro %}{{ m.__globals__ }}{{ m._func }}', "{% set x = ''.__class__ %}", '{% do 1 %}',
    # the lexer and the parser
    '{{ "' . 'x' x 900_000, '{#' . 'x' x 900_000, '{% raw %}' . '{% endraw' x 90_000, '{{' x 400_000, '{%' x 400_000, '{#' x 400_000, '}}' x 400_000, '{' x 900_000, '{{ ' . '"a" ' x 200_000 . '}}', '{{ ' . 'a.' x 300_000 . ' }}', '{% for ' . 'a,' x 300_000 . ' in b %}{% endfor %}', '{{ f(' . 'a,' x 300_000 . ') }}', '{{ f(' . join(',', map { "a$_=1" } 1 .. 20_000) . ') }}',
    '{% macro m(' . join(',', map { "a$_" } 1 .. 20_000) . ') %}{% endmacro %}{{ m() }}', '{{ [' . '0,' x 400_000 . '] }}', '{{ {' . join(',', map { "$_:1" } 1 .. 100_000) . '}|length }}', join('', map { "{% set a$_ = 1 %}" } 1 .. 30_000), '{{ ' . '9' x 800_000 . ' }}', '{{ 1.' . '9' x 800_000 . ' }}', '{{ 0x' . 'f' x 100_000 . ' }}', '{{ ' . '1_' x 300_000 . '1 }}', '{{ "\\' x 100_000, '{{ "' . '\\x41' x 200_000 . '" }}',
);
cmp_ok(scalar @hostile, '>=', 100, scalar @hostile . ' hostile templates');
my $boot = $cluster->sql('SELECT pg_postmaster_start_time()');
my (@slow, %ends, @odd, @leaks);
for my $template (@hostile) {
    (my $literal = $template) =~ s/'/''/g;
    my $shown = substr($template, 0, 90);
    for my $strict (qw(true false)) {
        my $got = $cluster->try_sql("SET statement_timeout = '1s'; SELECT length(t), left(t, 300) FROM _steadytext.jinja_render('$literal', '{\"x\": [1]}', $strict) t");
        # A second, and what a busy machine adds.
        push @slow, sprintf '%.1f s: %s', $got->{seconds}, $shown if $got->{seconds} > 6;
        $ends{ $got->{state} || 'text' }++;
        push @odd, "$got->{state} $shown $got->{err}" if $got->{state} !~ /^(?:|54000|57014|22023|22003|0A000|42601|53200)$/ || $got->{err} =~ /server closed|could not connect/;
        push @leaks, "$shown: $got->{out}" if $got->{out} =~ /class |object at|module|builtin|root:/;
    }
}
is(join("\n", @slow), '', 'each ends within its second');
is(join("\n", @odd), '', 'in a text, or an error that says why');
is(join("\n", @leaks), '', 'none shows anything of the host');
is($cluster->sql('SELECT pg_postmaster_start_time()'), $boot, 'the server is the same');
unlike($cluster->log, qr/PANIC|terminated by signal|TRAP:/, 'no process has crashed');
note join ', ', map { "$_: $ends{$_}" } sort keys %ends;

# A cancel is served in the middle of a template, before its steps are used up.
is($cluster->try_sql(q(SET statement_timeout = '50ms'; SELECT _steadytext.jinja_render('{% for i in range(1000000000) %}{% set a = i %}{% endfor %}', '{}', true)))->{state}, '57014', 'a template is cancelled');

done_testing;
