import io.netty.handler.codec.http.cookie.ServerCookieDecoder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import org.apache.tomcat.util.http.MimeHeaders;
import org.apache.tomcat.util.http.Rfc6265CookieProcessor;
import org.apache.tomcat.util.http.ServerCookies;
import org.eclipse.jetty.http.CookieCompliance;
import org.eclipse.jetty.server.CookieCutter;

/** Prints what the cookie parsers of Java's servers find under app_session, as JSON. */
public final class Java {
    public static void main(String[] args) throws Exception {
        // The lines come one a line, in ISO-8859-1: there is no JSON in Java.
        List<String> lines = Files.readAllLines(Path.of(args[0]), StandardCharsets.ISO_8859_1);
        Map<String, Function<String, List<String>>> parsers = new LinkedHashMap<>();
        parsers.put("Tomcat", Java::tomcat);
        parsers.put("Jetty RFC 6265", line -> jetty(line, CookieCompliance.RFC6265));
        parsers.put("Jetty RFC 2965", line -> jetty(line, CookieCompliance.RFC2965));
        parsers.put("Netty lax", line -> netty(line, ServerCookieDecoder.LAX));
        parsers.put("Netty strict", line -> netty(line, ServerCookieDecoder.STRICT));
        StringBuilder out = new StringBuilder("{");
        parsers.forEach((name, parse) -> {
            out.append(out.length() > 1 ? "," : "").append(quote(name)).append(":[");
            for (int i = 0; i < lines.size(); i++) {
                List<String> found = parse.apply(lines.get(i));
                out.append(i > 0 ? ",[" : "[");
                for (int j = 0; j < found.size(); j++) {
                    out.append(j > 0 ? "," : "").append(quote(found.get(j)));
                }
                out.append("]");
            }
            out.append("]");
        });
        System.out.print(out.append("}"));
    }

    private static List<String> tomcat(String line) {
        MimeHeaders headers = new MimeHeaders();
        byte[] bytes = line.getBytes(StandardCharsets.ISO_8859_1);
        headers.addValue("Cookie").setBytes(bytes, 0, bytes.length);
        ServerCookies cookies = new ServerCookies(16);
        new Rfc6265CookieProcessor().parseCookieHeader(headers, cookies);
        List<String> found = new ArrayList<>();
        for (int i = 0; i < cookies.getCookieCount(); i++) {
            if (cookies.getCookie(i).getName().toString().equals("app_session")) {
                found.add(cookies.getCookie(i).getValue().toString());
            }
        }
        return found;
    }

    private static List<String> jetty(String line, CookieCompliance compliance) {
        CookieCutter cutter = new CookieCutter(compliance);
        cutter.addCookieField(line);
        List<String> found = new ArrayList<>();
        for (var cookie : cutter.getCookies()) {
            if (cookie.getName().equals("app_session")) {
                found.add(cookie.getValue());
            }
        }
        return found;
    }

    private static List<String> netty(String line, ServerCookieDecoder decoder) {
        List<String> found = new ArrayList<>();
        for (var cookie : decoder.decodeAll(line)) {
            if (cookie.name().equals("app_session")) {
                found.add(cookie.value());
            }
        }
        return found;
    }

    private static String quote(String s) {
        StringBuilder out = new StringBuilder("\"");
        for (char c : s.toCharArray()) {
            out.append(c == '"' || c == '\\' || c < ' ' || c > '~' ? String.format("\\u%04x", (int) c) : String.valueOf(c));
        }
        return out.append('"').toString();
    }
}
